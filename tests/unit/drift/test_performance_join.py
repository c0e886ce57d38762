# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Predictions and labels by id: any order, bounds, repeats, restarts."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops_runtime.drift.performance.join import LabelJoin
from mlops_runtime.drift.protocol import Arrays


def saved(arrays: Arrays) -> Arrays:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        return dict(archive)


def scores(at: int, rows: int = 1) -> np.ndarray:
    return np.full((rows, 2), float(at))


def test_whichever_comes_first() -> None:
    join = LabelJoin(2, 10, 10)
    assert join.predicted("a", scores(1)) is None
    assert join.labelled("b", np.array([5.0])) is None
    late, early = join.labelled("a", np.array([3.0])), join.predicted("b", scores(2))
    assert late is not None
    assert early is not None
    assert (late.scores.tolist(), late.labels.tolist()) == ([[1.0, 1.0]], [3.0])
    assert (early.scores.tolist(), early.labels.tolist()) == ([[2.0, 2.0]], [5.0])
    assert join.waiting == 0
    assert join.counts["joined"] == 2


def test_what_waits_longest_is_dropped_and_counted() -> None:
    join = LabelJoin(2, 3, 2)
    for at in range(5):
        join.predicted(f"p{at}", scores(at))
        join.labelled(f"l{at}", np.array([float(at)]))
    assert join.counts["predictions_dropped"] == 2
    assert join.counts["labels_dropped"] == 3
    assert join.waiting == 3
    assert join.labelled("p1", np.array([0.0])) is None
    assert join.labelled("p2", np.array([0.0])) is not None
    join.predicted("large", scores(9, rows=4))
    assert join.counts["predictions_dropped"] == 6
    assert join.waiting == 2


def test_repeats_and_mismatches() -> None:
    join = LabelJoin(2, 10, 10)
    join.predicted("a", scores(1))
    assert join.predicted("a", scores(2)) is None
    joined = join.labelled("a", np.array([0.0]))
    assert joined is not None
    assert joined.scores[0, 0] == 1.0
    join.labelled("b", np.array([0.0]))
    join.labelled("b", np.array([7.0]))
    joined = join.predicted("b", scores(1))
    assert joined is not None
    assert joined.labels.tolist() == [7.0]
    join.predicted("c", scores(1, rows=3))
    assert join.labelled("c", np.array([1.0, 2.0])) is None
    assert (join.counts["predictions_repeated"], join.counts["labels_repeated"], join.counts["mismatched"]) == (1, 1, 1)


EVENTS = st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.integers(1, 3)), max_size=60)


@settings(max_examples=80)
@given(events=EVENTS, stop=st.integers(0, 60))
def test_a_restart_changes_nothing_and_the_bounds_hold(events: list[tuple[bool, int, int]], stop: int) -> None:
    def play(join: LabelJoin, part: list[tuple[bool, int, int]]) -> list[Any]:
        found = []
        for prediction, at, rows in part:
            joined = (
                join.predicted(f"id-{at}", scores(at, rows))
                if prediction
                else join.labelled(f"id-{at}", np.full(rows, float(at)))
            )
            found.append(None if joined is None else (joined.scores.tolist(), joined.labels.tolist()))
            state = join.state()
            assert len(state["join_predictions_values"]) == join.waiting <= 8
            assert len(state["join_labels_values"]) <= 5
        return found

    whole, first, second = LabelJoin(2, 8, 5), LabelJoin(2, 8, 5), LabelJoin(2, 8, 5)
    expected = play(whole, events)
    found = play(first, events[:stop])
    second.restore(saved(first.state()))
    assert found + play(second, events[stop:]) == expected
    assert second.counts == whole.counts
    assert all(second.state()[name].tobytes() == array.tobytes() for name, array in whole.state().items())


def test_a_state_of_another_model_is_refused() -> None:
    join = LabelJoin(2, 10, 10)
    join.predicted("a", scores(1))
    with pytest.raises(ValueError, match="of another model"):
        LabelJoin(3, 10, 10).restore(join.state())
    with pytest.raises(ValueError, match="no counts"):
        join.restore({})
