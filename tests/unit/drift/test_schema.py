# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A record's rows to numbers, and what is refused on the way; the quality's counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops_runtime.drift.protocol import Feature
from mlops_runtime.drift.quality import BLOCK, BLOCKS, Quality
from mlops_runtime.drift.schema import Column, Reason, Rejected, RowReader, Schema

SCHEMA = Schema(
    [
        Column(Feature("length"), 0.0, 10.0),
        Column(Feature("colour", ("blue", "red"))),
        Column(Feature("depth"), -1.0, 1.0),
    ]
)
NUMBERS = Schema([Column(Feature("a"), 0, 1), Column(Feature("b"), 0, 1)])


def test_numbers_categories_and_missing() -> None:
    reader = RowReader(SCHEMA)
    assert reader.add([[1, "red", 0.5], [2.5, "blue", None], [3, None, True]]) == 3
    assert reader.add([[4, "green", 0]]) == 1
    expected = [[1, 1, 0.5], [2.5, 0, math.nan], [3, math.nan, 1], [4, 2, 0]]
    np.testing.assert_array_equal(reader.take(), np.array(expected))
    assert reader.take().shape == (0, 3)


def test_columns_in_another_order_and_more_of_them() -> None:
    reader = RowReader(NUMBERS)
    reader.add([[9, 0.25, 0.75]], ["other", "b", "a"])
    reader.add([[0.1, 0.2]], ["a", "b"])
    np.testing.assert_array_equal(reader.take(), [[0.75, 0.25], [0.1, 0.2]])


@pytest.mark.parametrize(
    ("rows", "names", "reason", "says"),
    [
        (None, None, Reason.WRONG_SHAPE, "no list of rows"),
        ([], None, Reason.WRONG_SHAPE, "no list of rows"),
        ([[0.1]], None, Reason.WRONG_SHAPE, "row 0 of X has 1 values, not 2"),
        ([[0.1, 0.2], [0.1, 0.2, 0.3]], None, Reason.WRONG_SHAPE, "row 1 of X has 3 values, not 2"),
        ([0.1, 0.2], None, Reason.WRONG_SHAPE, "row 0 of X is no list"),
        ("ab", None, Reason.WRONG_SHAPE, "no list of rows"),
        ([["0.1", 0.2]], None, Reason.WRONG_TYPE, "feature 'a' is text, not a number"),
        ([[0.1, [0.2]]], None, Reason.WRONG_TYPE, "feature 'b' is a list, not a number"),
        ([[0.1, {}]], None, Reason.WRONG_TYPE, "feature 'b' is an object, not a number"),
        ([[0.1, 0.2]], ["a", "c"], Reason.WRONG_NAMES, "there is no b"),
        ([[0.1, 0.2]], "ab", Reason.WRONG_NAMES, "no list of strings"),
        ([[0.1, 0.2]], [["a"], "b"], Reason.WRONG_NAMES, "no list of strings"),
    ],
)
def test_what_is_no_row_is_rejected_and_leaves_no_trace(rows: object, names: object, reason: Reason, says: str) -> None:
    reader = RowReader(NUMBERS)
    reader.add([[0.5, 0.6]])
    with pytest.raises(Rejected, match=says) as error:
        reader.add(rows, names)
    assert error.value.reason is reason
    reader.add([[0.7, 0.8]])
    np.testing.assert_array_equal(reader.take(), [[0.5, 0.6], [0.7, 0.8]])


VALUES = st.one_of(
    st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**64 - 1), st.booleans(),
    st.text(max_size=3), st.lists(st.integers(), max_size=1)
)  # fmt: skip


@given(st.lists(st.lists(VALUES, min_size=2, max_size=2), min_size=1, max_size=5))
def test_only_what_holds_numbers_and_nulls_alone_gets_in(rows: list[list[object]]) -> None:
    good = all(value is None or isinstance(value, int | float) for row in rows for value in row)
    reader = RowReader(NUMBERS)
    if good:
        reader.add(rows)
        expected = [[math.nan if value is None else float(value) for value in row] for row in rows]  # type: ignore[arg-type]
        np.testing.assert_array_equal(reader.take(), expected)
    else:
        with pytest.raises(Rejected):
            reader.add(rows)
        assert len(reader.take()) == 0


def test_a_column_survives_its_document() -> None:
    for column in SCHEMA.columns:
        assert Column.from_dict(column.to_dict()) == column


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "no name"),
        ({"name": "a", "kind": "odd"}, "'odd', not numeric"),
        ({"name": "a", "kind": "numeric", "minimum": "0", "maximum": 1}, "no numbers"),
        ({"name": "a", "kind": "categorical", "categories": ["x", "x"]}, "twice"),
        ({"name": "a", "kind": "numeric", "minimum": 0, "maximum": 1, "missing": 2}, "not a share"),
    ],
)
def test_a_document_that_is_no_column(document: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Column.from_dict(document)


def test_a_feature_that_is_there_twice() -> None:
    with pytest.raises(ValueError, match="there twice: a"):
        Schema([Column(Feature("a"), 0, 1), Column(Feature("a"), 0, 1)])


def test_quality_counts_missing_and_invalid() -> None:
    quality = Quality(SCHEMA)
    quality.observe(np.array([[1, 0, 0], [11, 2, math.nan], [-1, 1, math.nan], [5, math.nan, 0.5]]))
    np.testing.assert_array_equal(quality.missing(), [0, 0.25, 0.5])
    np.testing.assert_array_equal(quality.invalid(), [0.5, 0.25, 0])


def test_quality_forgets() -> None:
    quality = Quality(NUMBERS)
    quality.observe(np.full((BLOCK * BLOCKS, 2), math.nan))
    assert quality.missing()[0] == 1
    assert quality.window() == BLOCK * BLOCKS
    quality.observe(np.full((BLOCK * BLOCKS, 2), 0.5))
    assert quality.missing()[0] == 0
    assert quality.totals()[0][0] == BLOCK * BLOCKS


@given(st.lists(st.integers(1, 3 * BLOCK), min_size=1, max_size=12), st.integers(0, 11))
def test_quality_does_not_depend_on_grouping_or_restarts(sizes: list[int], restart: int) -> None:
    chance = np.random.default_rng(sum(sizes))
    rows = chance.normal(0.5, 0.5, (sum(sizes), 2))
    rows[chance.random(rows.shape) < 0.1] = math.nan
    whole, parts = Quality(NUMBERS), Quality(NUMBERS)
    whole.observe(rows)
    begun = 0
    for number, size in enumerate(sizes):
        if number == restart:
            successor = Quality(NUMBERS)
            successor.restore(parts.state())
            parts = successor
        parts.observe(rows[begun : begun + size])
        begun += size
    for name, values in whole.state().items():
        np.testing.assert_array_equal(values, parts.state()[name])
