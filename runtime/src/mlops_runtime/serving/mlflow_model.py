# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The default class: serves what MLflow stored, under this server and under Seldon's wrapper alike.

scikit-learn models are loaded as MLflow's own flavour loads them, without MLflow in memory; other flavours through
mlflow.pyfunc, which the model's requirements then have to hold.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mlops_runtime.contracts import environment
from mlops_runtime.serving.seldon import (
    SeldonComponent,
    SeldonMicroserviceException,
    SeldonNotImplementedError,
)
from mlops_runtime.serving.signature import Columns, InputError, Tensor, signature_of

Array = np.ndarray[Any, Any]

_PYFUNC, _SKLEARN = "python_function", "sklearn"


class ModelError(Exception):
    """The model's directory can't be served; the message says what is missing."""


class MLflowModel(SeldonComponent):
    """Predicts with a model directory of MLflow's.

    `method` is the estimator's method to call: predict (what pyfunc does), predict_proba, decision_function, ...
    """

    # Read once and then only looked at: loaded before the workers are forked, they share its memory.
    load_before_fork = True

    def __init__(self, method: str = "predict", model_dir: str = "", **_others: Any) -> None:
        super().__init__()
        self._method = method
        self._directory = Path(model_dir or os.environ.get(environment.MODEL_DIRECTORY, ""))
        self._signature: Columns | Tensor | None = None
        self._predict: Callable[[Any], Any] | None = None
        self._class_names: list[str] | None = None
        self._width: int | None = None
        self._frame_columns: list[str] | None = None
        self._flavours: list[str] = []

    def load(self) -> None:
        if self._predict is not None:
            return
        if not str(self._directory) or not (self._directory / "MLmodel").is_file():
            raise ModelError(f"{self._directory or environment.MODEL_DIRECTORY}: there is no file MLmodel")
        description = yaml.safe_load((self._directory / "MLmodel").read_text())
        self._signature = signature_of((description.get("signature") or {}).get("inputs"))
        flavours = description.get("flavors") or {}
        self._flavours = sorted(flavours)
        if _SKLEARN in flavours:
            self._load_sklearn(flavours[_SKLEARN], flavours.get(_PYFUNC) or {})
        elif _PYFUNC in flavours:
            self._load_pyfunc()
        else:
            raise ModelError(f"{self._directory}: none of its flavours ({', '.join(flavours)}) can be served")

    def _load_sklearn(self, flavour: dict[str, Any], pyfunc: dict[str, Any]) -> None:
        if code := flavour.get("code") or pyfunc.get("code"):
            sys.path.insert(0, str(self._directory / code))
        path = self._directory / flavour.get("pickled_model", "model.pkl")
        estimator = _unpickle(path, flavour)
        function = getattr(estimator, self._method, None)
        if not callable(function):
            raise ModelError(f"method {self._method}: {type(estimator).__name__} has no such method")
        self._predict = function
        width = getattr(estimator, "n_features_in_", None)
        self._width = int(width) if width is not None else None
        columns = getattr(estimator, "feature_names_in_", None)
        if columns is not None:
            self._frame_columns = [str(column) for column in columns]
        if self._frame_columns is not None:
            try:
                importlib.import_module("pandas")
            except ImportError as error:
                raise ModelError(f"{path}: the model takes a DataFrame: add pandas to its requirements") from error
        if self._method in ("predict_proba", "predict_log_proba"):
            self._class_names = [str(name) for name in estimator.classes_]

    def _load_pyfunc(self) -> None:
        if self._method != "predict":
            raise ModelError(f"method {self._method}: only scikit-learn models have other methods than predict")
        try:
            pyfunc = importlib.import_module("mlflow.pyfunc")
        except ImportError as error:
            raise ModelError(
                f"flavours {', '.join(self._flavours)} are loaded by MLflow: add mlflow-skinny and pandas to the "
                f"model's requirements ({error})"
            ) from error
        model = pyfunc.load_model(str(self._directory))
        self._predict = model.predict
        if isinstance(self._signature, Columns) and all(self._signature.names):
            self._frame_columns = self._signature.names

    # Seldon's methods

    def predict(self, X: Any, names: Any, meta: dict[str, Any] | None = None) -> Any:  # noqa: ARG002 Seldon's
        return self.predict_rows(self.prepare_rows(X, list(names or [])))

    def class_names(self) -> list[str]:
        if self._class_names is None:
            raise SeldonNotImplementedError("class_names is not implemented")
        return self._class_names

    def init_metadata(self) -> dict[str, Any]:
        inputs: list[dict[str, Any]] = []
        if isinstance(self._signature, Columns):
            schema = {"names": self._signature.names, "shape": [-1, len(self._signature.columns)]}
            inputs = [{"messagetype": "ndarray", "schema": schema}]
        elif isinstance(self._signature, Tensor):
            inputs = [{"messagetype": "ndarray", "schema": {"shape": list(self._signature.shape)}}]
        return {
            "name": os.environ.get(environment.MODEL, ""),
            "versions": [os.environ.get(environment.MODEL_VERSION, "")],
            "platform": next((flavour for flavour in self._flavours if flavour != _PYFUNC), _PYFUNC),
            "inputs": inputs,
        }

    # The rows of several requests in one call (see scheduler.py)

    def prepare_rows(self, features: Any, names: list[str]) -> Array:
        """A request's rows as the model was trained on them. Raises what the client is to be told, as a 400."""
        try:
            if self._signature is not None:
                return self._signature.check(features, names)
            return self._check_without_signature(features)
        except InputError as error:
            raise SeldonMicroserviceException(str(error), status_code=400) from error

    def _check_without_signature(self, features: Any) -> Array:
        if not isinstance(features, np.ndarray) or features.ndim < 1:
            raise InputError("the model takes data.ndarray, data.tensor or data.tftensor")
        if self._width is not None and (features.ndim != 2 or features.shape[1] != self._width):
            raise InputError(f"the model takes rows of {self._width} columns, not an array of {list(features.shape)}")
        if len(features) == 0:
            raise InputError("there are no rows")
        return features

    def predict_rows(self, rows: Array) -> Any:
        if self._predict is None:
            raise SeldonMicroserviceException(
                "the model is not loaded", status_code=503, reason="MICROSERVICE_NOT_READY"
            )
        table = self._framed(rows) if self._frame_columns is not None else rows
        try:
            answer = self._predict(table)
        except (ValueError, TypeError) as error:
            # Shape and types fit the signature; what is left are values the model won't have, such as NaN.
            raise SeldonMicroserviceException(f"the model refuses the input: {error}", status_code=400) from error
        return _plain(answer)

    def _framed(self, rows: Array) -> Any:
        """A DataFrame, for models trained on one."""
        from pandas import DataFrame

        if isinstance(self._signature, Columns):
            names = self._signature.names if all(self._signature.names) else self._frame_columns
            frame = DataFrame(rows, columns=names, copy=False)
            if rows.dtype == object:
                return frame.infer_objects()
            return frame
        return DataFrame(rows, columns=self._frame_columns, copy=False)


def _unpickle(path: Path, flavour: dict[str, Any]) -> Any:
    """The estimator. The directory's digest was checked: a pickle is as trustworthy as who registered it."""
    kind = flavour.get("serialization_format", "pickle")
    try:
        if kind == "skops":
            return importlib.import_module("skops.io").load(path, trusted=flavour.get("skops_trusted_types"))
        if kind == "cloudpickle":
            importlib.import_module("cloudpickle")
        with path.open("rb") as stream:
            return pickle.load(stream)  # noqa: S301
    except ImportError as error:
        raise ModelError(f"{path}: loading it takes what the model's requirements don't hold: {error}") from error
    except Exception as error:  # a pickle may raise anything
        made = flavour.get("sklearn_version", "an unknown version")
        raise ModelError(
            f"{path}: can't be loaded here: {type(error).__name__}: {error} (saved with scikit-learn {made})"
        ) from error


def _plain(answer: Any) -> Any:
    """numpy from what a model returns: arrays, lists, pandas' frames and series."""
    if hasattr(answer, "to_numpy"):
        return answer.to_numpy()
    if isinstance(answer, list):
        return np.asarray(answer)
    return answer
