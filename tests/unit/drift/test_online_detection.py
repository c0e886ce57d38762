# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the online detectors see and when, on seeded streams; tests/benchmark/drift_detection.py measures it
properly."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from mlops_runtime.drift.online.calibration import Simulated, true_spread
from mlops_runtime.drift.online.detector import CALM, OnlineDetector
from mlops_runtime.drift.online.episodes import Episodes
from mlops_runtime.drift.protocol import Feature, FloatArray, Reference
from online_references import FEATURES, KINDS, fit, fresh, mixed, numbers

WIDTH = 8
STATED = 400
SMALLER = {"ewma": {}, "rff": {"components": 64}}
kinds = pytest.mark.parametrize("kind", KINDS)


@functools.cache
def on_normal(kind: str) -> OnlineDetector:
    rows = np.random.default_rng(5).normal(size=(4000, WIDTH))
    return fit(kind, Reference(rows, numbers(WIDTH)), expected_run_time=STATED, **SMALLER[kind])


BEGINNING = {kind: on_normal(kind).state() for kind in KINDS}


def first_alarm(kind: str, rows: FloatArray) -> tuple[int, str]:
    """Its row and feature, of a detector that has just begun; one past the last row where there is none."""
    detector = on_normal(kind)
    detector.restore(BEGINNING[kind])
    alarms = detector.score_many(rows, np.zeros(len(rows)))
    return (alarms[0].row, alarms[0].feature) if alarms else (len(rows) + 1, "none")


@kinds
def test_false_alarms_come_as_often_as_stated(kind: str) -> None:
    random = np.random.default_rng(11)
    lengths = [first_alarm(kind, random.normal(size=(8 * STATED, WIDTH)))[0] for _ in range(120)]
    assert 0.75 < np.mean(lengths) / STATED < 1.35
    assert 0.75 < np.std(lengths) / np.mean(lengths) < 1.25, "nearly geometric"


def test_a_shift_is_found_and_named() -> None:
    random = np.random.default_rng(12)
    found = []
    for _ in range(20):
        rows = random.normal(size=(200, WIDTH))
        rows[:, 3] += 1.5
        found.append(first_alarm("ewma", rows))
    assert np.mean([row for row, _ in found]) < 20
    # What few rows show may be seen first by the statistic of all features.
    assert {name for _, name in found} <= {"f3", ""}


@pytest.mark.parametrize("change", ["spread", "two peaks", "ties", "constant"])
def test_other_changes_of_one_feature_are_found(change: str) -> None:
    random = np.random.default_rng(13)
    rows = random.normal(size=(600, WIDTH))
    if change == "spread":
        rows[:, 2] *= 2
    elif change == "two peaks":
        rows[:, 2] = random.choice([-1.0, 1.0], 600) + random.normal(0, 0.05, 600)
    elif change == "ties":
        rows[:, 2] = np.where(rows[:, 2] > 0.5, rows[:, 2], 0.0)
    else:
        rows[:, 2] = 0.0
    detector = on_normal("ewma")
    detector.restore(BEGINNING["ewma"])
    alarms = detector.score_many(rows, np.zeros(len(rows)))
    assert "f2" in {alarm.feature for alarm in alarms}


def test_a_change_of_correlation_alone_is_found() -> None:
    random = np.random.default_rng(14)
    delays = []
    for _ in range(20):
        rows = random.normal(size=(600, WIDTH))
        rows[:, :4] = (rows[:, :4] + random.normal(size=(600, 1))) / np.sqrt(2)
        delays.append(first_alarm("rff", rows)[0])
    assert np.mean(delays) < 60


def test_a_category_that_takes_over_or_is_new_is_found() -> None:
    random = np.random.default_rng(15)
    for category in (2.0, 3.0, 17.0):
        detector = fresh("ewma")
        rows = mixed(random, 300)
        rows[random.random(300) < 0.5, 4] = category
        assert "colour" in {alarm.feature for alarm in detector.score_many(rows, np.zeros(300))}


def test_a_constant_that_changes_is_found_though_not_by_one_row() -> None:
    detector = fresh("ewma")
    rows = mixed(np.random.default_rng(16), 100)
    rows[50, 3] = 2.0
    assert "always one" not in {alarm.feature for alarm in detector.score_many(rows, np.zeros(100))}
    rows[:20, 3] = 2.0
    assert "always one" in {alarm.feature for alarm in detector.score_many(rows[:20], np.zeros(20))}


def test_missing_values_delay_and_do_not_alarm() -> None:
    random = np.random.default_rng(17)
    rows = random.normal(size=(400, WIDTH))
    rows[:, 1] += 1
    rows[random.random(400) < 0.5, 1] = np.nan
    assert first_alarm("ewma", rows)[0] < 100
    rows[:, 1] = np.nan
    assert first_alarm("ewma", rows)[1] != "f1"


def test_every_feature_has_a_reading() -> None:
    names = [reading.feature for reading in fresh("ewma").readings()]
    assert sorted(names) == sorted(["", *(feature.name for feature in FEATURES)])
    assert [reading.feature for reading in fresh("rff").readings()] == [""]


def test_one_feature_is_enough() -> None:
    random = np.random.default_rng(18)
    for kind in KINDS:
        detector = fit(kind, Reference(random.normal(size=(1000, 1)), (Feature("x"),)), expected_run_time=500)
        assert detector.score_many(random.normal(2, 1, size=(200, 1)), np.zeros(200))


def test_drift_holds_until_it_has_been_calm_and_then_alarms_again() -> None:
    episodes = Episodes(("a", "b"), calm=100)
    ratios = np.zeros((2, 1000))
    ratios[0, [10, 11, 50, 150, 400]] = 2.0
    ratios[1, 12] = 1.5
    alarms = episodes.advance(ratios, 0)
    assert [(alarm.row, alarm.feature) for alarm in alarms] == [(11, "a"), (13, "b"), (401, "a")]
    assert episodes.events.tolist() == [2, 1]
    assert episodes.drifting(501).tolist() == [True, False]
    assert episodes.drifting(502).tolist() == [False, False]
    assert CALM >= 100


def test_a_threshold_for_a_long_run_is_extrapolated() -> None:
    """Streams whose largest statistic grows as that of independent exponential variables: exact is log(run time)."""
    random = np.random.default_rng(19)
    steps = random.exponential(size=(2000, 400)).astype(np.float32)
    # A look is every fourth row: the largest of four.
    for _ in range(3):
        steps = np.maximum(steps, random.exponential(size=steps.shape).astype(np.float32))
    simulated = Simulated(np.maximum.accumulate(steps, axis=0))
    for run_time, tolerance in ((1000, 0.1), (100_000, 0.5), (1_000_000, 0.8)):
        threshold, extrapolated = simulated.threshold(run_time)
        assert threshold == pytest.approx(np.log(run_time), abs=tolerance)
        assert extrapolated == (run_time > 8000)


def test_the_spread_that_a_finite_reference_adds_is_taken_off() -> None:
    """200 independent scores of 500 rows: the squared covariance's trace is 200, and seems to be 200 + 200^2 / 500."""
    random = np.random.default_rng(20)
    assert true_spread(random.normal(size=(500, 200)).astype(np.float32)) == pytest.approx(np.sqrt(200 / 280), abs=0.02)
    one = np.repeat(random.normal(size=(500, 1)), 200, axis=1).astype(np.float32)
    assert true_spread(one) > 0.99, "one direction is well known"
    assert true_spread(np.zeros((500, 0), np.float32)) == 1.0
