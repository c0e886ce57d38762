# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.comparison import (
    as_limit,
    check_name,
    differing,
    masked,
    nearest,
    secrets_in,
)
from hypothesis import given
from hypothesis import strategies as st

WORD = "swordfish"
SECRET_NAMES = st.sampled_from(["password", "API_KEY", "access_token", "auth", "db-auth", "credentials", "X_SECRET"])
PLAIN_NAMES = st.sampled_from(["author", "rows", "env", "keyboard", "image"])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["x", "http://host/x", "{{ env }}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN_NAMES, inner, max_size=3),
    max_leaves=8,
)
SECRETS = st.recursive(
    st.just(WORD),
    lambda inner: st.lists(inner, min_size=1, max_size=2) | st.dictionaries(PLAIN_NAMES, inner, min_size=1, max_size=2),
    max_leaves=4,
)


@given(PLAIN)
def test_what_is_no_secret_is_shown(value: Any) -> None:
    assert masked(value) == masked(value, value) == value
    assert not list(secrets_in(value))


@given(PLAIN_NAMES, SECRET_NAMES, SECRETS, PLAIN)
def test_a_secret_is_never_shown(outside: str, name: str, secret: Any, beside: Any) -> None:
    value = {outside: [{name: secret}, beside]}
    for before in (None, value, {outside: [{name: "other"}, beside]}, {outside: "other"}):
        assert WORD not in json.dumps(masked(value, before))
    assert set(secrets_in(value)) == {WORD}


def test_a_secret_that_changes_says_so() -> None:
    assert masked({"token": "b"}, {"token": "a"}) == {"token": "******** (changed)"}
    assert masked({"token": "a"}, {"token": "a"}) == masked({"token": "a"}, {}) == {"token": "********"}
    assert masked({"token": ""}) == {"token": ""}


def test_what_only_speaks_of_secrets_is_shown() -> None:
    template = {"password": "{{ prefect.blocks.secret.db }}", "max_tokens": 5}
    assert masked(template) == template
    schema = {"password": {"type": "string", "title": "Password", "default": "swordfish"}}
    assert masked(schema)["password"] == {"type": "string", "title": "Password", "default": "********"}
    assert masked("https://me:swordfish@host/x") == "https://***@host/x"


def test_only_what_differs() -> None:
    assert differing({"a": 1, "b": [], "c": None}, {"a": 1, "b": ["x"], "c": 2, "d": 3}) == {"b": [], "c": None}


def test_limits() -> None:
    assert (as_limit("x", -1, 0), as_limit("x", 0, 0), as_limit("x", None, 1)) == (None, 0, None)
    for value, lowest in ((-2, 0), (0, 1)):
        with pytest.raises(InputError, match=rf"^x: must be {lowest} or more, or -1 for no limit"):
            as_limit("x", value, lowest)


@pytest.mark.parametrize("name", ["", "  ", "a/b", "50%", "a&b", "<x>"])
def test_names_that_prefect_refuses(name: str) -> None:
    with pytest.raises(InputError, match=r"^flow: "):
        check_name("flow", name)


def test_a_hint_for_a_wrong_name() -> None:
    assert nearest("trian", ["train", "serve"]) == "similar ones are train"
    assert nearest("zzz", ["b", "a"]) == "there are a, b"
    assert nearest("zzz", map(str, range(20))).endswith(", ...")
    assert nearest("zzz", []) == "there is none at all"
