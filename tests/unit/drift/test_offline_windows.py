# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Detectors on windows: when they test, what they refuse, that batches and restarts don't matter."""

from __future__ import annotations

import io
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops_runtime.drift.offline.detector import WindowDetector
from mlops_runtime.drift.offline.domain_classifier import DomainClassifier
from mlops_runtime.drift.offline.parameters import COMMON, Options, Schedule
from mlops_runtime.drift.offline.psi import PopulationStability
from mlops_runtime.drift.offline.univariate import (
    ChiSquaredDetector,
    CramerVonMisesDetector,
    KolmogorovSmirnovDetector,
    TabularDetector,
)
from mlops_runtime.drift.offline.window import Window
from mlops_runtime.drift.protocol import Alarm, Arrays, Detector, Feature, Reference, UnfitReference

FEATURES = (Feature("a"), Feature("b"), Feature("colour", ("red", "green", "blue")))
SMALL = {"window": 60, "step": 20, "p_value": 0.01}
KINDS: list[tuple[type[WindowDetector], dict[str, Any]]] = [
    (KolmogorovSmirnovDetector, {}),
    (CramerVonMisesDetector, {"correction": "fdr"}),
    (ChiSquaredDetector, {}),
    (TabularDetector, {"correction": "fdr"}),
    (PopulationStability, {"bins": 5}),
    (DomainClassifier, {"calibration": "mann_whitney", "reference_rows": 200, "folds": 2}),
]


def rows(count: int, seed: int, shift: float = 0.0, missing: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = np.column_stack(
        [rng.normal(shift, 1, count), rng.exponential(1, count).round(1), rng.choice(3, count, p=[0.6, 0.3, 0.1])]
    )
    if shift:
        made[:, 2] = rng.choice(3, count, p=[0.1, 0.2, 0.7])
    made[rng.random(made.shape) < missing] = np.nan
    return made


def fitted(kind: type[WindowDetector], **parameters: Any) -> WindowDetector:
    return kind.fit(Reference(rows(400, seed=1), FEATURES), {**SMALL, **parameters})


def saved(arrays: Arrays) -> Arrays:
    """As an artefact or a snapshot brings them back."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        return dict(archive)


def same(left: Arrays, right: Arrays) -> bool:
    return left.keys() == right.keys() and all(left[name].tobytes() == right[name].tobytes() for name in left)


def fed(detector: Detector, stream: np.ndarray, cuts: list[int], times: np.ndarray | None = None) -> list[Alarm]:
    times = np.arange(len(stream), dtype=float) if times is None else times
    alarms: list[Alarm] = []
    edges = [0, *sorted(cuts), len(stream)]
    for start, end in pairwise(edges):
        alarms += detector.score_many(stream[start:end], times[start:end])
    return alarms


@pytest.mark.parametrize(("kind", "own"), KINDS, ids=[kind.kind for kind, _ in KINDS])
def test_a_shift_is_found_once_and_none_without_it(kind: type[WindowDetector], own: dict[str, Any]) -> None:
    detector = fitted(kind, **own, p_value=0.001)
    assert fed(detector, rows(120, seed=2), []) == []
    alarms = fed(detector, rows(300, seed=3, shift=2.0), [])
    assert alarms
    assert all(120 < alarm.row <= 200 and alarm.statistic > alarm.threshold for alarm in alarms)
    drifting = [reading for reading in detector.readings() if reading.drifting]
    assert {reading.feature for reading in drifting} == {alarm.feature for alarm in alarms}
    assert all(reading.ratio > 1 and reading.events >= 1 for reading in drifting)


@pytest.mark.parametrize(("kind", "own"), KINDS, ids=[kind.kind for kind, _ in KINDS])
@settings(max_examples=4)
@given(cuts=st.lists(st.integers(0, 200), max_size=6), stop=st.integers(0, 200), by_time=st.booleans())
def test_neither_batches_nor_a_restart_matter(
    kind: type[WindowDetector], own: dict[str, Any], cuts: list[int], stop: int, by_time: bool
) -> None:
    own = {**own, **({"window_seconds": 50.0, "step_seconds": 20.0, "minimum_rows": 20} if by_time else {})}
    stream = np.vstack([rows(100, seed=4), rows(100, seed=5, shift=1.0)])
    whole = fitted(kind, **own)
    expected = fed(whole, stream, [])

    first = fitted(kind, **own)
    alarms = fed(first, stream[:stop], [cut for cut in cuts if cut < stop])
    second = kind.load(saved(first.fitted()), {**SMALL, **own}, FEATURES)
    second.restore(saved(first.state()))
    times = np.arange(stop, len(stream), dtype=float)
    alarms += fed(second, stream[stop:], [cut - stop for cut in cuts if cut > stop], times)
    assert alarms == expected
    assert same(second.state(), whole.state())
    assert second.readings() == whole.readings()


def test_one_row_at_a_time_is_the_same() -> None:
    stream = np.vstack([rows(100, seed=4), rows(100, seed=5, shift=1.0)])
    whole, single = fitted(TabularDetector), fitted(TabularDetector)
    alarms = [alarm for at, row in enumerate(stream) for alarm in single.score_one(row, float(at))]
    assert alarms == fed(whole, stream, [])
    assert same(single.state(), whole.state())


@settings(max_examples=60)
@given(
    window=st.integers(10, 40),
    step=st.integers(1, 40),
    cuts=st.lists(st.integers(0, 150), max_size=8),
    count=st.integers(0, 150),
)
def test_a_window_by_count_holds_the_newest_rows(window: int, step: int, cuts: list[int], count: int) -> None:
    step = min(step, window)
    ring = Window(Schedule(window, step, 0.0, 0.0, 2), 1)
    stream = np.arange(count, dtype=float)[:, None]
    found = []
    edges = [0, *sorted(cut for cut in cuts if cut <= count), count]
    for start, end in pairwise(edges):
        found += [(row, held[:, 0].tolist()) for row, held in ring.take(stream[start:end], stream[start:end, 0])]
    due = [row for row in range(window, count + 1) if (row - window) % step == 0]
    assert found == [(row, list(range(row - window, row))) for row in due]


def by_time(times: list[float], seconds: float = 10.0, step: float = 0.0) -> list[tuple[int, list[float]]]:
    ring = Window(Schedule(100, 100, seconds, step or seconds, 2), 1)
    stream = np.array(times)[:, None]
    return [(row, held[:, 0].tolist()) for row, held in ring.take(stream, stream[:, 0])]


def test_a_window_by_time_is_tested_when_it_has_passed() -> None:
    assert by_time([0, 3, 9, 12, 15, 21]) == [(4, [0, 3, 9]), (6, [12, 15])]
    assert by_time([0, 3, 9, 12, 15, 21], step=5) == [(4, [0, 3, 9]), (5, [9, 12]), (6, [12, 15])]


def test_a_pause_is_one_test_and_few_rows_are_none() -> None:
    assert by_time([0, 1, 500, 501, 502, 512]) == [(3, [0, 1]), (6, [500, 501, 502])]
    assert by_time([0, 10, 20, 30]) == []


def test_a_clock_that_jumps_ahead_and_back_costs_a_window_at_most() -> None:
    found = by_time([0, 1, 9e9, 2, 3, 4, 13, 14, 15, 26])
    assert found == [(3, [0, 1]), (7, [2, 3, 4]), (10, [13, 14, 15])]


def test_a_time_window_is_bounded_by_rows_too() -> None:
    ring = Window(Schedule(10, 10, 10.0, 10.0, 2), 1)
    times = np.linspace(0, 9.9, 1000)
    assert list(ring.take(times[:, None], times)) == []
    ((row, held),) = ring.take(np.array([[11.0]]), np.array([11.0]))
    assert row == 1001
    assert held[:, 0].tolist() == times[-10:].tolist()


def test_what_is_not_finite_never_reaches_a_test() -> None:
    stream = rows(200, seed=6, missing=0.0)
    holed = np.vstack([stream, np.full((60, 3), np.nan), np.full((60, 3), np.inf)])
    for kind, own in KINDS:
        detector = fitted(kind, **own)
        fed(detector, holed, [])
        assert all(np.isfinite(reading.statistic) for reading in detector.readings())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"windw": 5}, "no parameter 'windw'"),
        ({"window": 5}, "window is 5"),
        ({"window": "many"}, "window is 'many'"),
        ({"step": 61}, "step is 61"),
        ({"expected_run_time": 1000}, "p_value is 0.01; it has to be left out"),
        ({"p_value": 0, "expected_run_time": 30}, "at least two steps of 20 rows"),
        ({"p_value": 0, "expected_run_time": 9000, "window_seconds": 60}, "it counts rows"),
        ({"step_seconds": 5}, "given together with window_seconds"),
        ({"correction": "hope"}, "one of bonferroni, fdr"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(TabularDetector, **parameters)


def test_a_reference_that_cannot_carry_it_says_why() -> None:
    reference = Reference(rows(150, seed=1), FEATURES)
    with pytest.raises(UnfitReference, match="the reference has 150 rows; a window of 500 needs 500"):
        TabularDetector.fit(reference, {})
    with pytest.raises(UnfitReference, match="none of the features"):
        KolmogorovSmirnovDetector.fit(Reference(reference.rows[:, 2:], FEATURES[2:]), SMALL)
    with pytest.raises(UnfitReference, match="simulated windows"):
        PopulationStability.fit(reference, {"window": 60, "expected_run_time": 10_000_000})
    with pytest.raises(UnfitReference, match="longer window"):
        DomainClassifier.fit(reference, {"window": 10, "p_value": 1e-9, "calibration": "mann_whitney"})
    with pytest.raises(UnfitReference, match="no windows of 100 to draw"):
        DomainClassifier.fit(reference, {"window": 100, "p_value": 0.05})


def test_a_state_or_arrays_of_another_detector_are_refused_and_change_nothing() -> None:
    detector = fitted(TabularDetector)
    fed(detector, rows(70, seed=2), [])
    before = detector.state()
    for wrong in ({}, fitted(TabularDetector, window=80).state(), fitted(KolmogorovSmirnovDetector).state()):
        with pytest.raises(ValueError, match="state"):
            detector.restore(wrong)
    assert same(detector.state(), before)
    for kind, _ in KINDS:
        with pytest.raises(ValueError, match="arrays"):
            kind.load({"reference_count": np.array([1])}, SMALL, FEATURES)


def test_the_level_is_the_step_over_the_run_time() -> None:
    detector = fitted(TabularDetector, p_value=0, expected_run_time=2000)
    assert detector.calibration()["p_value"] == pytest.approx(0.01)
    assert detector.readings()[0].threshold == pytest.approx(2.0)
    assert Schedule.read(Options("ks", {"window": 40}, COMMON)).step == 40


def test_importing_loads_neither_scipy_nor_sklearn() -> None:
    source = Path(__file__).resolve().parents[3] / "runtime" / "src"
    modules = "from mlops_runtime.drift.offline import univariate, psi, domain_classifier"
    code = f"import sys; {modules}; print({{'scipy', 'sklearn'}} & set(sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(source)}, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()"


def test_each_is_a_detector() -> None:
    detectors: list[Detector] = [fitted(kind, **own) for kind, own in KINDS]
    assert len({detector.kind for detector in detectors}) == len(KINDS)
