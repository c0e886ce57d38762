# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A model's answers to rows, taken the way that the model server takes them: champion and challenger alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlops_runtime.pipelines.errors import UnfitRows
from mlops_runtime.serving.mlflow_model import MLflowModel, ModelError
from mlops_runtime.serving.seldon import SeldonMicroserviceException

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Answers:
    """`predicted`, shape (n,): classes or values. `probabilities`, shape (n, classes), in the order of `classes`."""

    predicted: Array
    probabilities: Array | None = None
    classes: tuple[Any, ...] = ()


Predictor = Callable[[pd.DataFrame], Answers]
"""Takes rows of features, without the target."""


def of_directory(directory: Path) -> Predictor:
    """The model that MLflow saved there. Its hash is to be checked first: loading may run what is in it.

    Raises ModelError; the predictor raises UnfitRows.
    """
    model = MLflowModel("predict", str(directory))
    model.load()
    chances: MLflowModel | None = MLflowModel("predict_proba", str(directory))
    try:
        assert chances is not None
        chances.load()
    except ModelError:  # no scikit-learn model, or one without probabilities
        chances = None

    def predict(features: pd.DataFrame) -> Answers:
        try:
            predicted = _asked(model, features)
            if chances is None:
                return Answers(_flat(predicted))
            return Answers(_flat(predicted), np.asarray(_asked(chances, features)), tuple(chances.class_names()))
        except SeldonMicroserviceException as error:
            raise UnfitRows(f"the model of {directory.name} refuses the rows: {error}") from error

    return predict


def of_estimator(estimator: Any) -> Predictor:
    """An estimator in memory, of scikit-learn's kind. One that was fitted without names is asked without them."""
    named = hasattr(estimator, "feature_names_in_")
    chances = getattr(estimator, "predict_proba", None)

    def predict(features: pd.DataFrame) -> Answers:
        table = features if named else features.to_numpy()
        predicted = _flat(estimator.predict(table))
        if chances is None:
            return Answers(predicted)
        return Answers(predicted, np.asarray(chances(table)), tuple(np.asarray(estimator.classes_).tolist()))

    return predict


def _asked(model: MLflowModel, features: pd.DataFrame) -> Any:
    return model.predict(features.to_numpy(), [str(name) for name in features.columns])


def _flat(predicted: Any) -> Array:
    array = np.asarray(predicted)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
