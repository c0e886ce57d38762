# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The new version's detectors, for models of more than two classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from _model_spec.drift import Detector, Drift
from mlops_runtime.drift.artefact import Artefact, load
from mlops_runtime.drift.outputs import Outputs
from mlops_runtime.drift.performance import PerformanceMonitor
from mlops_runtime.pipelines.answers import of_estimator
from mlops_runtime.pipelines.detectors import fit_detectors
from mlops_runtime.pipelines.holdout import Data
from mlops_runtime.pipelines.rows import identified
from sklearn.ensemble import RandomForestClassifier

DRIFT = Drift((Detector("ewma", "ewma", {"expected_run_time": 100}),), labels=True)
WORDS = ["brickface", "foliage", "grass", "sky"]


def data(classes: list[Any], missing: Any = None, strange: Any = None) -> Data:
    """Rows whose first number says what they are; the newest slice lacks a class, or has one that no other part has."""
    draw = np.random.default_rng(0)
    frames = []
    for rows in (600, 200, 200, 200):
        places = draw.integers(0, len(classes), rows)
        frame = pd.DataFrame({"a": places + draw.normal(0, 0.2, rows), "b": draw.normal(size=rows)})
        frames.append(frame.assign(y=[classes[place] for place in places]))
    train, old, new, recent = frames
    new = new[new["y"] != missing].reset_index(drop=True)
    if strange is not None:
        new.loc[:9, "y"] = strange
    train, old, new, recent = map(identified, (train, old, new, recent))
    return Data(pd.concat([train, recent]), old, new, recent, "y", "the-hash")


def fitted(given: Data, directory: Path, **options: Any) -> tuple[Artefact, Any]:
    forest = RandomForestClassifier(10, random_state=0)
    forest.fit(given.train[["a", "b"]].to_numpy(), given.train["y"].to_numpy())
    challenger = of_estimator(forest)
    fit_detectors(DRIFT, "m", challenger, given, directory, performance={"window": 50}, **options)
    return load(directory), challenger


@pytest.mark.parametrize("classes", [WORDS, [1, 2, 3, 10]])
def test_a_newest_slice_without_one_of_the_classes(classes: list[Any], tmp_path: Path) -> None:
    given = data(classes, missing=classes[1])
    artefact, challenger = fitted(given, tmp_path / "drift")
    names = tuple(map(str, classes))
    assert artefact.outputs == {"kind": "probabilities", "classes": list(names), "width": 4}
    watched = monitor(artefact)
    answers = challenger(given.old[["a", "b"]])
    assert answers.probabilities is not None
    follow(watched, artefact, answers.probabilities.tolist(), given.old["y"].tolist())
    accuracy = (answers.predicted[:50] == given.old["y"][:50]).mean()
    assert watched.metrics()["accuracy"] == pytest.approx(accuracy)


def test_a_model_that_answers_the_class_alone_is_watched_by_it(tmp_path: Path) -> None:
    given = data(WORDS, missing="sky")
    artefact, challenger = fitted(given, tmp_path / "drift", chances=False)
    assert artefact.outputs == {"kind": "label", "classes": WORDS, "width": 1}
    watched = monitor(artefact)
    follow(watched, artefact, challenger(given.old[["a", "b"]]).predicted.tolist(), given.old["y"].tolist())
    assert watched.metrics()["accuracy"] > 0.9


def test_a_class_that_is_new_to_the_model_teaches_its_watch_nothing(tmp_path: Path) -> None:
    artefact, _ = fitted(data(WORDS, strange="snow"), tmp_path / "drift")
    assert artefact.outputs is not None and artefact.outputs["classes"] == WORDS


def monitor(artefact: Artefact) -> PerformanceMonitor:
    found = artefact.performance
    assert found is not None
    return PerformanceMonitor.load(found.arrays, found.parameters, Outputs.from_manifest(artefact.outputs or {}))


def follow(watched: PerformanceMonitor, artefact: Artefact, answers: list[Any], labels: list[Any]) -> None:
    """The first 50 requests of one row each, and then their labels, as the stream brings them."""
    outputs = Outputs.from_manifest(artefact.outputs or {})
    for place in range(50):
        watched.predicted([(f"id-{place}", 1)], outputs.scores_many(answers[place : place + 1]))
        watched.labelled(f"id-{place}", labels[place])
