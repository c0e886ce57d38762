# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A saved model: the same of the same, and served as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import ColSpec, Schema
from mlops_runtime.contracts.digest import digest_of_files, file_digest
from mlops_runtime.pipelines import saving
from mlops_runtime.pipelines.answers import of_directory
from pandas import DataFrame
from sklearn.ensemble import RandomForestClassifier

TREE = "sklearn.tree._tree.Tree"
SIGNATURE = ModelSignature(inputs=Schema([ColSpec("double", name) for name in ("a-mean", "b-sd")]))


def table() -> DataFrame:
    draw = np.random.default_rng(0)
    rows = DataFrame(draw.normal(size=(90, 2)), columns=["a-mean", "b-sd"])
    return rows.assign(y=np.array(["path", "sky", "window"])[np.arange(90) % 3])


def saved(path: Path, **options: Any) -> RandomForestClassifier:
    rows = table()
    features = rows[["a-mean", "b-sd"]]
    model = RandomForestClassifier(5, random_state=2024).fit(features.to_numpy(), rows["y"].to_numpy(dtype=str))
    example = features.head(2)
    saving.save(model, path, signature=SIGNATURE, input_example=example, made_of=b"the rows", **options)
    return model


def digest(path: Path) -> str:
    return digest_of_files({file.name: file_digest(file) for file in path.iterdir()})


def test_the_same_model_is_the_same_files(tmp_path: Path) -> None:
    kept = [saved(tmp_path / name, trusted=[TREE]) for name in ("first", "second")]
    assert digest(tmp_path / "first") == digest(tmp_path / "second")
    # Numbers as long as addresses, such as the seeds of a forest's trees, are left as they are.
    rows = table()[["a-mean", "b-sd"]]
    answers = of_directory(tmp_path / "second")(rows)
    assert answers.classes == ("path", "sky", "window")
    assert np.array_equal(answers.predicted, kept[0].predict(rows.to_numpy()))
    assert answers.probabilities is not None
    assert np.array_equal(answers.probabilities, kept[0].predict_proba(rows.to_numpy()))
    text = "".join(str(tree.random_state) for tree in kept[0].estimators_)
    assert text in "".join(str(tree.random_state) for tree in loaded(tmp_path / "first").estimators_)


def loaded(path: Path) -> Any:
    from skops.io import load

    return load(path / "model.skops", trusted=[TREE])


def test_types_that_nobody_trusts_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(MlflowException, match="untrusted types"):
        saved(tmp_path / "model")
