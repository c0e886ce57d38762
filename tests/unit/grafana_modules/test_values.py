# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.values import (
    duration,
    milliseconds,
    paths_that_differ,
    plain,
    same,
    seconds,
    texts,
)
from hypothesis import given, settings
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.sampled_from(["", "a", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**12))
def test_a_duration_means_the_same_in_its_one_form(count: int) -> None:
    written = f"{count}ms"
    assert milliseconds("for", duration("for", written)) == milliseconds("for", written) == count
    assert duration("for", duration("for", written)) == duration("for", written)


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("90s", "1m30s"),
        ("1m30s", "1m30s"),
        (90, "1m30s"),
        ("90", "1m30s"),
        ("1h0m0s", "1h"),  # as Go writes it
        ("0", "0s"),
        (0, "0s"),
        ("1w", "7d"),
        ("1y", "365d"),
        ("1500ms", "1s500ms"),
    ],
)
def test_ways_to_write_a_duration(written: Any, form: str) -> None:
    assert duration("for", written) == form


@pytest.mark.parametrize("written", ["", "5 minutes", "-5m", "m", "1.5h", "5m1h", None, True, "5M", [5]])
def test_what_is_no_duration(written: Any) -> None:
    with pytest.raises(InputError, match=r"^rules\[0\]\.for: .* is not a duration such as 30s"):
        duration("rules[0].for", written)


def test_whole_seconds() -> None:
    assert seconds("interval", "10m") == 600
    with pytest.raises(InputError, match="whole seconds"):
        seconds("interval", "1500ms")


@settings(max_examples=50, deadline=None)
@given(JSON)
def test_json_is_the_same_after_a_server_had_it(value: Any) -> None:
    assert same(value, json.loads(json.dumps(value)))
    assert paths_that_differ(value, plain(value)) == []


@settings(max_examples=50, deadline=None)
@given(JSON, JSON)
def test_what_differs_is_named_and_what_is_the_same_not(one: Any, other: Any) -> None:
    if isinstance(one, dict) and isinstance(other, dict):
        # A key that says nothing is as good as none.
        one, other = ({key: value for key, value in some.items() if value is not None} for some in (one, other))
    if same(one, other):
        assert paths_that_differ(one, other, "x") == []
    elif not _only_none_apart(one, other):
        assert paths_that_differ(one, other, "x")


def _only_none_apart(one: Any, other: Any) -> bool:
    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: bare(inner) for key, inner in value.items() if inner is not None}
        return [bare(inner) for inner in value] if isinstance(value, list) else value

    return same(bare(one), bare(other))


def test_true_is_not_one() -> None:
    assert not same({"instant": True}, {"instant": 1})
    assert same({"max": 43200.0}, {"max": 43200})


def test_where_something_differs() -> None:
    wanted = {"rules": [{"model": {"expr": "up", "same": 1}}], "for": "1m"}
    found = {"rules": [{"model": {"expr": "down", "same": 1}}], "locked": True}
    assert paths_that_differ(wanted, found) == ["for", "locked", "rules[0].model.expr"]
    assert paths_that_differ({"rules": [1]}, {"rules": [1, 2]}) == ["rules"]


def test_labels_are_texts() -> None:
    assert texts("labels", {"a": "x", "n": 1, "on": True, 5: "y"}) == {"a": "x", "n": "1", "on": "true", "5": "y"}
    assert texts("labels", None) == {}
    for wrong in (None, [], {}):
        with pytest.raises(InputError, match=r"^labels\.a: must be a text"):
            texts("labels", {"a": wrong})
