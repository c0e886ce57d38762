# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.comparison import (
    Changes,
    alias_changes,
    as_spec,
    as_tags,
    check_alias,
    quoted,
    tag_changes,
)
from hypothesis import given
from hypothesis import strategies as st

KEYS = st.sampled_from(["a", "b", "c", "mlflow.note", "mlops.spec"])
TAGS = st.dictionaries(KEYS, st.sampled_from(["", "1", "2", '{"x":1}']), max_size=5)
ALIASES = st.dictionaries(st.sampled_from(["champion", "challenger", "shadow"]), st.sampled_from(["1", "2", "3"]))


@pytest.mark.parametrize(
    ("value", "text"),
    [("x", "x"), (3, "3"), (1.5, "1.5"), (True, "true"), (None, ""), ({"b": 1, "a": ["ä"]}, '{"a":["ä"],"b":1}')],
)
def test_a_tag_is_text(value: Any, text: str) -> None:
    assert as_tags({"k": value}) == {"k": text}


def test_what_the_database_would_cut_is_refused() -> None:
    assert as_tags({"k": "x" * 5000})
    with pytest.raises(InputError, match=r"tags: k has 5001 characters, the registry stores 5000 at most"):
        as_tags({"k": "x" * 5001})
    with pytest.raises(InputError, match=r"^run_tags: the key"):
        as_tags({"k" * 251: "x"}, "run_tags")
    assert len(as_spec({"name": "x" * 4989})) == 5000
    with pytest.raises(InputError, match=r"spec: the declaration has 5001 characters"):
        as_spec({"name": "x" * 4990})


def test_a_declaration_is_compared_as_data() -> None:
    wanted = {"mlops.spec": as_spec({"a": 1, "b": 2})}
    assert not tag_changes(wanted, {"mlops.spec": '{"b": 2, "a": 1}'})
    assert tag_changes(wanted, {"mlops.spec": '{"b": 2}'}).set == wanted
    assert tag_changes(wanted, {"mlops.spec": "no JSON"}).set == wanted
    assert tag_changes({"other": '{"a":1}'}, {"other": '{"a": 1}'})


def test_purging_spares_what_is_not_the_users() -> None:
    current = {"mine": "1", "mlflow.note": "x", "mlops.sha256": "y"}
    assert tag_changes({}, current, purge=True, keep=frozenset({"mlops.sha256"})) == Changes({}, ["mine"])
    assert not tag_changes({}, current)


@given(TAGS, TAGS, st.booleans())
def test_tags_converge(wanted: dict[str, str], current: dict[str, str], purge: bool) -> None:
    after = tag_changes(wanted, current, purge=purge).applied(current)
    assert not tag_changes(wanted, after, purge=purge)
    assert all(after[key] == value or json.loads(after[key]) == json.loads(value) for key, value in wanted.items())


@pytest.mark.parametrize(
    ("current", "decided", "expected"),
    [
        ({}, set(), {"champion": "1"}),  # nobody holds it
        ({"champion": "2"}, set(), {}),  # somebody else does: never moved
        ({"champion": "1"}, set(), {}),
        ({}, {("champion", "1")}, {}),  # given once and removed since: stays removed
        ({"champion": "2"}, {("champion", "1")}, {}),  # given once and moved since
        ({}, {("champion", "2")}, {"champion": "1"}),  # decided for another version
    ],
)
def test_an_alias_is_given_once(
    current: dict[str, str], decided: set[tuple[str, str]], expected: dict[str, str]
) -> None:
    assert alias_changes({"champion": "1"}, current, frozenset(decided)).set == expected


@given(ALIASES, ALIASES, st.frozensets(st.tuples(st.sampled_from(["champion", "shadow"]), st.sampled_from(["1", "2"]))))
def test_what_somebody_holds_is_never_taken(wanted: Any, current: Any, decided: Any) -> None:
    changes = alias_changes(wanted, current, decided)
    assert not set(changes.set) & set(current) and not changes.remove


@given(ALIASES, ALIASES, st.booleans())
def test_enforced_aliases_converge(wanted: dict[str, str], current: dict[str, str], purge: bool) -> None:
    after = alias_changes(wanted, current, frozenset(), enforce=True, purge=purge).applied(current)
    assert all(after[alias] == version for alias, version in wanted.items())
    assert not purge or after == dict(sorted(wanted.items()))
    assert not alias_changes(wanted, after, frozenset(), enforce=True, purge=purge)


@pytest.mark.parametrize("alias", ["", "latest", "Latest", "v3", "17", "a,b", "a/b", "a:b"])
def test_what_mlflow_refuses_as_alias(alias: str) -> None:
    with pytest.raises(InputError, match=r"^aliases: "):
        check_alias(alias)


def test_quotes() -> None:
    assert quoted("it's", "name") == '"it\'s"'
    with pytest.raises(InputError, match=r"^name: "):
        quoted("'\"", "name")
