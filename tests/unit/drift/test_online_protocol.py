# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Rows in any portions, a restart at any row, rows of anything: the online detectors go on alike, bit for bit."""

from __future__ import annotations

import hashlib
import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from mlops_runtime.drift.online.detector import OnlineDetector
from mlops_runtime.drift.protocol import Alarm, FloatArray, Reference, UnfitReference
from online_references import FEATURES, KINDS, fit, fresh, mixed, numbers, on_mixed

ROWS = 400
kinds = pytest.mark.parametrize("kind", KINDS)
cuts = st.lists(st.integers(0, ROWS), max_size=8).map(lambda found: sorted({0, *found, ROWS}))


def drifting_rows() -> FloatArray:
    random = np.random.default_rng(1)
    rows = mixed(random, ROWS)
    rows[150:300, 0] += 25
    rows[200:300, 4] = 3
    return rows


def digest(detector: OnlineDetector) -> str:
    """Of the state, as a snapshot would hold it."""
    total = hashlib.sha256()
    for name, array in sorted(detector.state().items()):
        total.update(name.encode() + array.dtype.str.encode() + array.tobytes())
    return total.hexdigest()


def feed(detector: OnlineDetector, rows: FloatArray) -> list[Alarm]:
    return detector.score_many(rows, np.zeros(len(rows)))


@kinds
@given(cuts=cuts)
@settings(max_examples=25)
def test_portions_do_not_matter(kind: str, cuts: list[int]) -> None:
    rows = drifting_rows()
    whole, parts = fresh(kind), fresh(kind)
    expected = feed(whole, rows)
    found = [alarm for begin, end in pairwise(cuts) for alarm in feed(parts, rows[begin:end])]
    assert found == expected
    assert expected, "the rows drift"
    assert digest(parts) == digest(whole)
    assert parts.readings() == whole.readings()


@kinds
def test_one_row_at_a_time_is_the_same(kind: str) -> None:
    rows = drifting_rows()
    whole, single = fresh(kind), fresh(kind)
    expected = feed(whole, rows)
    assert [alarm for row in rows for alarm in single.score_one(row, 0.0)] == expected
    assert digest(single) == digest(whole)


@kinds
@given(stop=st.integers(0, ROWS), cuts=cuts)
@settings(max_examples=25)
def test_a_restart_at_any_row_changes_nothing(kind: str, stop: int, cuts: list[int]) -> None:
    rows = drifting_rows()
    never, before, after = fresh(kind), fresh(kind), fresh(kind)
    expected = feed(never, rows)
    found = feed(before, rows[:stop])
    kept = io.BytesIO()
    np.savez(kept, allow_pickle=False, **before.state())
    kept.seek(0)
    with np.load(kept, allow_pickle=False) as state:
        after.restore(dict(state))
    assert digest(after) == digest(before)
    assert after.readings() == before.readings()
    for begin, end in pairwise([stop, *(cut for cut in cuts if cut > stop)]):
        found += feed(after, rows[begin:end])
    assert found == expected
    assert digest(after) == digest(never)


@kinds
def test_what_was_restored_is_not_shared(kind: str) -> None:
    first, second = fresh(kind), fresh(kind)
    feed(first, drifting_rows()[:50])
    state = first.state()
    second.restore(state)
    before = digest(first)
    feed(second, drifting_rows()[50:])
    assert digest(first) == before
    first.restore(state)
    assert digest(first) == before


@kinds
@given(
    rows=arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 40), st.just(len(FEATURES))),
        elements=st.one_of(
            st.just(np.nan), st.floats(allow_nan=True, allow_infinity=True), st.integers(-2, 9).map(float)
        ),
    )
)
@settings(max_examples=30)
def test_no_value_gets_into_the_statistic(kind: str, rows: FloatArray) -> None:
    """Missing, infinite, enormous, a category that doesn't exist: the statistics stay numbers."""
    detector = fresh(kind)
    feed(detector, rows)
    assert all(np.isfinite(reading.statistic) for reading in detector.readings())
    assert all(np.isfinite(array).all() for array in detector.state().values())


@kinds
def test_nothing_but_missing_values_is_calm(kind: str) -> None:
    detector = fresh(kind)
    rows = np.full((2000, len(FEATURES)), np.nan)
    assert feed(detector, rows) == []
    assert max(reading.ratio for reading in detector.readings()) < 0.01


@kinds
def test_the_state_does_not_grow(kind: str) -> None:
    detector = fresh(kind)
    sizes = set()
    for number in range(5):
        feed(detector, mixed(np.random.default_rng(number), 300))
        sizes.add(sum(array.nbytes for array in detector.state().values()))
    assert len(sizes) == 1
    assert sizes.pop() < 20_000


@kinds
def test_another_detectors_state_is_refused(kind: str) -> None:
    random = np.random.default_rng(3)
    other = fit(kind, Reference(mixed(random, 2000), FEATURES), expected_run_time=500)
    with pytest.raises(ValueError, match="not that of this"):
        fresh(kind).restore(other.state())
    state = fresh(kind).state()
    state["sums"] = state["sums"][:-1]
    with pytest.raises(ValueError, match="sums has shape"):
        fresh(kind).restore(state)


@kinds
def test_rows_of_another_width_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="for 6 features"):
        feed(fresh(kind), np.zeros((3, 5)))


@kinds
def test_the_same_reference_gives_the_same_detector(kind: str) -> None:
    reference = Reference(np.random.default_rng(0).normal(size=(500, 3)), numbers(3), seed=4)
    first, second = (fit(kind, reference, expected_run_time=200) for _ in range(2))
    for name, array in first.fitted().items():
        assert array.tobytes() == second.fitted()[name].tobytes(), name


@kinds
def test_the_artefact_holds_no_objects_and_is_small(kind: str) -> None:
    arrays_of = on_mixed(kind).fitted()
    assert all(array.dtype.kind in "fiu" for array in arrays_of.values())
    assert sum(array.nbytes for array in arrays_of.values()) < 300_000


@kinds
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"expected_runtime": 1000}, "no parameter expected_runtime"),
        ({"expected_run_time": 99}, "expected_run_time must be from 100"),
        ({"expected_run_time": 2_000_000}, "expected_run_time must be from 100 to 1000000"),
        ({"expected_run_time": "long"}, "expected_run_time must be a whole number"),
        ({"expected_run_time": True}, "expected_run_time must be a whole number"),
        ({"memory": 2}, "memory must be from 4"),
    ],
)
def test_wrong_parameters_are_named(kind: str, parameters: dict[str, int | str], message: str) -> None:
    reference = Reference(np.random.default_rng(0).normal(size=(500, 3)), numbers(3))
    with pytest.raises(ValueError, match=message):
        KINDS[kind].fit(reference, parameters)
    with pytest.raises(ValueError, match=message):
        KINDS[kind].load(on_mixed(kind).fitted(), parameters, FEATURES)


@kinds
def test_a_reference_that_cannot_carry_it_says_what_would(kind: str) -> None:
    random = np.random.default_rng(0)
    with pytest.raises(UnfitReference, match="50 rows; at least 100"):
        KINDS[kind].fit(Reference(random.normal(size=(50, 3)), numbers(3)), {})
    with pytest.raises(UnfitReference, match=r"run time of 1000000 rows needs \d+ of them"):
        KINDS[kind].fit(Reference(random.normal(size=(200, 3)), numbers(3)), {"expected_run_time": 1_000_000})
    with pytest.raises(UnfitReference, match="or memory"):
        KINDS[kind].fit(Reference(random.normal(size=(500, 3)), numbers(3)), {"memory": 200})
    for nothing in (np.nan, 5.0):
        with pytest.raises(UnfitReference, match="No feature of the reference"):
            KINDS[kind].fit(Reference(np.full((2000, 3), nothing), numbers(3)), {"expected_run_time": 100})
    with pytest.raises(UnfitReference, match="2 columns for 3 features"):
        KINDS[kind].fit(Reference(random.normal(size=(500, 2)), numbers(3)), {})


def test_the_calibration_is_told() -> None:
    told = on_mixed("ewma").calibration()
    assert told["expected_run_time"] == 500
    assert told["rows"] == 2000
    assert 450 < float(told["simulated_run_time"]) < 550
