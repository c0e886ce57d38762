# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Measures against scikit-learn's, the estimate against the truth, and the four cases of drift and loss."""

from __future__ import annotations

import functools
import io
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlops_runtime.drift.outputs import Outputs
from mlops_runtime.drift.performance import PerformanceMonitor
from mlops_runtime.drift.performance.calibration import CalibrationMap
from mlops_runtime.drift.performance.scores import confusion, log_loss, of_confusion, of_errors
from mlops_runtime.drift.protocol import Arrays, UnfitReference
from sklearn import metrics as reference

BINARY = Outputs("probabilities", ("no", "yes"), 1)
PARAMETERS = {"window": 400, "p_value": 0.001}


def saved(arrays: Arrays) -> Arrays:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        return dict(archive)


def world(count: int, seed: int, harder: bool = False, flipped: float = 0.0) -> tuple[list[list[float]], list[str]]:
    """Answers of an overconfident model, and labels. `harder`: inputs near the border; `flipped`: share of labels."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 0.6 if harder else 2.0, count)
    truth = rng.random(count) < 1 / (1 + np.exp(-logit))
    truth ^= rng.random(count) < flipped
    answers = 1 / (1 + np.exp(-2 * logit))
    return [[float(p)] for p in answers], ["yes" if one else "no" for one in truth]


@functools.cache
def trained(window: int) -> Arrays:
    return PerformanceMonitor.fit(BINARY, *world(4000, seed=1), {**PARAMETERS, "window": window}).fitted()


def monitor(window: int = 400) -> PerformanceMonitor:
    return PerformanceMonitor.load(trained(window), {**PARAMETERS, "window": window}, BINARY)


def predicted(watched: PerformanceMonitor, request: str, answers: list[Any], outputs: Outputs = BINARY) -> list[Any]:
    """A request's alarms, without their places."""
    return [alarm for _, alarm in watched.predicted([(request, len(answers))], outputs.scores_many(answers))]


def play(
    watched: PerformanceMonitor,
    answers: list[list[Any]],
    labels: list[str],
    start: int = 0,
    outputs: Outputs = BINARY,
) -> list[Any]:
    """Labels come 30 requests late."""
    alarms = []
    for at in range(len(answers) + 30):
        if at < len(answers):
            alarms += predicted(watched, f"r{start + at}", [answers[at]], outputs)
        if at >= 30:
            alarms += watched.labelled(f"r{start + at - 30}", labels[at - 30])
    return alarms


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_measures_are_those_of_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    chances = rng.dirichlet(np.ones(classes), 300)
    predicted, labels = chances.argmax(axis=1).astype(float), rng.integers(0, classes, 300).astype(float)
    average = "binary" if classes == 2 else "macro"
    found = of_confusion(confusion(predicted, labels, classes))
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    assert found["f1"] == pytest.approx(reference.f1_score(labels, predicted, average=average))
    assert found["precision"] == pytest.approx(reference.precision_score(labels, predicted, average=average))
    assert found["recall"] == pytest.approx(reference.recall_score(labels, predicted, average=average))
    assert log_loss(chances, labels) == pytest.approx(reference.log_loss(labels, chances))
    errors = of_errors(predicted, labels)
    assert errors["mae"] == pytest.approx(reference.mean_absolute_error(labels, predicted))
    assert errors["rmse"] == pytest.approx(reference.root_mean_squared_error(labels, predicted))


def test_an_overconfident_model_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 2, 20_000)
    chance = 1 / (1 + np.exp(-logit))
    labels = (rng.random(20_000) < chance).astype(float)
    claimed = 1 / (1 + np.exp(-2 * logit))
    fitted = CalibrationMap.fit(np.column_stack([1 - claimed, claimed]), labels)
    fresh = rng.normal(0, 2, 5000)
    claimed = 1 / (1 + np.exp(-2 * fresh))
    found = fitted(np.column_stack([1 - claimed, claimed]))
    assert found.sum(axis=1) == pytest.approx(1.0)
    assert np.abs(found[:, 1] - 1 / (1 + np.exp(-fresh))).mean() < 0.02
    assert (np.diff(fitted.shares, axis=1) >= 0).all()


def test_neither_drift_nor_loss() -> None:
    watched = monitor()
    answers, labels = world(1200, seed=2)
    assert play(watched, answers, labels) == []
    found = watched.metrics()
    assert found["accuracy"] == pytest.approx(watched.baseline["accuracy"], abs=0.06)
    assert found["estimated_accuracy"] == pytest.approx(found["accuracy"], abs=0.06)
    assert found["estimated_f1"] == pytest.approx(found["f1"], abs=0.08)
    assert watched.counts["joined"] == 1200


def test_a_loss_from_harder_inputs_is_estimated_before_any_label_comes() -> None:
    watched = monitor()
    answers, labels = world(800, seed=3, harder=True)
    alarms = [alarm for at, answer in enumerate(answers) for alarm in predicted(watched, f"r{at}", [answer])]
    assert "estimated_accuracy" in {alarm.feature for alarm in alarms}
    assert watched.waiting == 800
    truth = np.mean(
        [(answer[0] > 0.5) == (label == "yes") for answer, label in zip(answers[400:], labels[400:], strict=True)]
    )
    assert watched.metrics()["estimated_accuracy"] == pytest.approx(truth, abs=0.06)
    assert "accuracy" not in watched.metrics()


def test_a_loss_without_drift_is_seen_by_labels_alone() -> None:
    watched = monitor()
    alarms = play(watched, *world(800, seed=4, flipped=0.3))
    assert {"accuracy", "f1", "log_loss"} <= {alarm.feature for alarm in alarms}
    assert not any(alarm.feature.startswith("estimated_") for alarm in alarms)
    readings = {reading.feature: reading for reading in watched.readings()}
    assert readings["accuracy"].ratio > 1
    assert readings["accuracy"].drifting
    assert not readings["estimated_accuracy"].drifting


def test_a_restart_goes_on_exactly() -> None:
    answers, labels = world(900, seed=5, flipped=0.3)
    whole = monitor()
    expected = [predicted(whole, f"r{at}", [answer]) for at, answer in enumerate(answers)]
    expected += [whole.labelled(f"r{at}", label) for at, label in enumerate(labels)]

    first = monitor()
    found = [predicted(first, f"r{at}", [answer]) for at, answer in enumerate(answers[:500])]
    second = PerformanceMonitor.load(saved(first.fitted()), PARAMETERS, BINARY)
    second.restore(saved(first.state()))
    found += [predicted(second, f"r{at}", [answer]) for at, answer in enumerate(answers[500:], 500)]
    third = PerformanceMonitor.load(saved(first.fitted()), PARAMETERS, BINARY)
    third.restore(saved(second.state()))
    found += [third.labelled(f"r{at}", label) for at, label in enumerate(labels)]
    assert found == expected
    assert third.metrics() == whole.metrics()
    assert all(third.state()[name].tobytes() == array.tobytes() for name, array in whole.state().items())


def test_requests_of_many_rows_are_as_many_requests() -> None:
    answers, labels = world(800, seed=6)
    one, many = monitor(), monitor()
    play(one, answers, labels)
    for start in range(0, 800, 80):
        predicted(many, f"r{start}", answers[start : start + 80])
    for start in range(0, 800, 80):
        many.labelled(f"r{start}", labels[start : start + 80])
    assert many.metrics() == one.metrics()
    assert many.readings() == one.readings()


def test_records_together_are_as_one_by_one() -> None:
    answers, labels = world(900, seed=6, flipped=0.3)
    one, many = monitor(), monitor()
    scores = BINARY.scores_many(answers)
    for at in range(0, 900, 300):
        many.predicted([(f"r{at}", 1) for at in range(at, at + 300)], scores[at : at + 300])
    play(one, answers, labels)
    for at, label in enumerate(labels):
        many.labelled(f"r{at}", label)
    assert many.metrics() == one.metrics()
    assert many.readings() == one.readings()


def test_an_estimates_alarm_names_the_row_that_raised_it() -> None:
    """However the rows come; those without an answer don't count."""
    answers, _ = world(800, seed=3, harder=True)
    answers[5:5] = [[math.nan]] * 7
    scores = BINARY.scores_many(answers)
    whole, parts = monitor(), monitor()
    expected = whole.predicted([("", len(answers))], scores)
    found = []
    for start in range(0, len(answers), 90):
        part = scores[start : start + 90]
        found += [(start + place, alarm) for place, alarm in parts.predicted([("", len(part))], part)]
    assert expected
    assert found == expected
    assert {place for place, _ in expected} <= {406, 806}


def test_a_regression_has_errors_and_no_estimate() -> None:
    rng = np.random.default_rng(0)
    outputs = Outputs("value")
    truth = rng.normal(size=2000)
    watched = PerformanceMonitor.fit(outputs, (truth + rng.normal(0, 0.1, 2000)).tolist(), truth.tolist(), PARAMETERS)
    alarms = []
    for at, value in enumerate(truth[:800].tolist()):
        predicted(watched, f"r{at}", [[value + float(rng.normal(0, 0.1 if at < 400 else 0.2))]], outputs)
        alarms += watched.labelled(f"r{at}", value)
    assert {alarm.feature for alarm in alarms} == {"mae", "rmse"}
    assert all(alarm.row == 800 for alarm in alarms)
    assert watched.metrics().keys() == {"mae", "rmse"}
    assert watched.metrics()["rmse"] == pytest.approx(0.2, rel=0.15)


def test_a_model_of_labels_has_no_estimate_either() -> None:
    answers, labels = world(2000, seed=7)
    named = [["yes" if answer[0] > 0.5 else "no"] for answer in answers]
    outputs = Outputs("label", ("no", "yes"))
    watched = PerformanceMonitor.fit(outputs, named, labels, PARAMETERS)
    play(watched, named[:500], labels[:500], outputs=outputs)
    assert watched.metrics().keys() == {"accuracy", "f1", "precision", "recall"}


def test_a_missing_answer_or_label_is_left_out() -> None:
    watched = monitor()
    play(watched, [[math.nan]] * 60, ["yes"] * 60)
    play(watched, [[0.5]] * 60, [None] * 60, start=1000)  # type: ignore[list-item]
    assert watched.counts["joined"] == 120
    assert watched.metrics().keys() == {"estimated_accuracy", "estimated_f1", "estimated_precision", "estimated_recall"}


def test_what_does_not_fit_is_refused() -> None:
    watched = monitor()
    before = watched.state()
    with pytest.raises(ValueError, match="class 'perhaps'"):
        watched.labelled("a", "perhaps")
    with pytest.raises(ValueError, match="state"):
        watched.restore(monitor(window=500).state())
    assert all(watched.state()[name].tobytes() == array.tobytes() for name, array in before.items())
    with pytest.raises(UnfitReference, match="10 rows with answer and label; 50 are needed"):
        PerformanceMonitor.fit(BINARY, *world(10, seed=1), PARAMETERS)
    with pytest.raises(ValueError, match="no parameter 'windows'"):
        PerformanceMonitor.load(trained(400), {"windows": 3}, BINARY)
    with pytest.raises(ValueError, match="of other classes"):
        PerformanceMonitor.load(watched.fitted(), PARAMETERS, Outputs("probabilities", ("a", "b", "c"), 3))
    with pytest.raises(ValueError, match="aren't of a performance monitor"):
        PerformanceMonitor.load({}, PARAMETERS, BINARY)


def test_the_service_needs_numpy_alone() -> None:
    source = Path(__file__).resolve().parents[3] / "runtime" / "src"
    modules = "from mlops_runtime.drift import embedding, outputs, performance"
    code = f"import sys; {modules}; print({{'scipy', 'sklearn', 'PIL'}} & set(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(source)}, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()"
