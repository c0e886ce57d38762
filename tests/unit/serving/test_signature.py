# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Requests held against MLflow's signatures."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops_runtime.serving.signature import Columns, InputError, Tensor, signature_of


def columns(**types: str) -> Columns:
    signature = signature_of(json.dumps([{"name": name, "type": kind} for name, kind in types.items()]))
    assert isinstance(signature, Columns)
    return signature


DOUBLES = columns(a="double", b="double", c="double")
MIXED = columns(age="long", name="string", weight="double", member="boolean")


def test_a_table_of_doubles_is_left_as_it_is() -> None:
    rows = np.array([[1.0, 2.0, 3.0]])
    assert DOUBLES.check(rows, []) is rows
    assert DOUBLES.check(np.array([[1, 2, 3]]), []).dtype == np.float64


def test_names_put_the_columns_in_order() -> None:
    assert DOUBLES.check(np.array([[1.0, 2.0, 3.0]]), ["c", "a", "b"]).tolist() == [[2.0, 3.0, 1.0]]


def test_types_of_columns_are_kept() -> None:
    row = MIXED.check(np.array([[41, "x", 1.5, True]], dtype=object), [])
    assert row.tolist() == [[41, "x", 1.5, True]]
    assert [type(value) for value in row[0]] == [int, str, float, bool]


def test_tables_that_came_as_texts_as_the_wrapper_makes_them() -> None:
    assert MIXED.check(np.array([["41", "x", "1.5", "1"]]), []).tolist() == [[41, "x", 1.5, True]]


@pytest.mark.parametrize(
    ("signature", "features", "names", "words"),
    [
        (DOUBLES, np.array([1.0, 2.0, 3.0]), [], "2 dimensions, not 1"),
        (DOUBLES, np.zeros((1, 3, 1)), [], "2 dimensions, not 3"),
        (DOUBLES, np.zeros((2, 2)), [], r"takes 3 columns \(a, b, c\), not 2"),
        (DOUBLES, np.zeros((0, 3)), [], "no rows"),
        (DOUBLES, np.array([]), [], "2 dimensions"),
        (DOUBLES, np.zeros((1, 3)), ["a", "b"], "2 names for 3 columns"),
        (DOUBLES, np.zeros((1, 3)), ["a", "b", "d"], "missing: c; unknown: d"),
        (DOUBLES, np.zeros((1, 3)), ["a", "b", "b"], "twice"),
        (DOUBLES, np.array([["x", "1", "2"]]), [], "takes numbers .* not 'x'"),
        (DOUBLES, np.array([[{}, 1, 2]], dtype=object), [], "takes numbers"),
        (DOUBLES, "text", [], r"data\.ndarray"),
        (DOUBLES, {"a": 1}, [], r"data\.ndarray"),
        (columns(a="long"), np.array([[1.5]]), [], "whole numbers .* not 1.5"),
        (columns(a="long"), np.array([[np.nan]]), [], "missing or infinite"),
        (columns(a="integer"), np.array([[2**40]]), [], "out of its range"),
        (columns(a="boolean"), np.array([[2]]), [], "true and false"),
        (columns(a="string"), np.array([[1.5]]), [], "takes strings, not 1.5"),
        (MIXED, np.array([[41, 5, 1.5, True]], dtype=object), [], "column name takes strings, not 5"),
        (MIXED, np.array([["old", "x", 1.5, True]], dtype=object), [], "column age takes numbers"),
        (columns(t="datetime"), np.array([["yesterday"]]), [], "datetime"),
        (Tensor("float64", (-1, 2)), np.zeros((1, 3)), [], r"shape \[-1, 2\], not \[1, 3\]"),
        (Tensor("float32", (-1, 2)), np.array([["a", "b"]]), [], "takes numbers"),
    ],
)
def test_what_does_not_fit_is_told(signature: Any, features: Any, names: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        signature.check(features, names)


def test_tensors_are_made_the_type_of_the_signature() -> None:
    assert Tensor("float32", (-1, 2)).check(np.array([[1, 2]]), []).dtype == np.float32


@pytest.mark.parametrize("text", [None, "", "[]", '[{"type": {"type": "object"}, "name": "x"}]'])
def test_signatures_that_say_nothing_checkable(text: str | None) -> None:
    assert signature_of(text) is None


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4))


@given(st.lists(st.lists(values, min_size=4, max_size=4), min_size=1, max_size=4))
def test_any_table_fits_or_is_told(rows: list[list[Any]]) -> None:
    for signature in (
        MIXED,
        columns(a="double", b="double", c="double", d="double"),
        columns(a="long", b="long", c="long", d="long"),
    ):
        try:
            checked = signature.check(np.array(rows, dtype=object), [])
        except InputError:
            continue
        assert checked.shape == (len(rows), 4)
