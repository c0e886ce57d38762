# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._grafana import secrets
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.arguments import secrets_in
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.secrets import (
    HIDDEN,
    REDACTED,
    check_addresses,
    compared,
    flat,
    hashed,
    hashes_of,
    matches,
    nested,
    redacted,
    without,
)
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = st.sampled_from(["url", "headers", "tlsConfig", "hmacConfig"])
TREES = st.recursive(
    st.sampled_from(["x", "", 1, True, None]),
    lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=2) | st.lists(inner, max_size=2),
    max_leaves=5,
)
SETTINGS = st.dictionaries(NAMES, TREES, max_size=3)
SECRETS = st.dictionaries(
    st.sampled_from(["password", "tlsConfig.clientKey", "hmacConfig.secret", "a.b.c"]),
    st.text(min_size=1, max_size=5),
    max_size=3,
)


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "COST", {"n": 2, "r": 1, "p": 1})


@settings(max_examples=50, deadline=None)
@given(st.text(), st.text(), st.text(), st.text())
def test_a_hash_holds_for_its_secret_and_key_alone(secret: str, other: str, key: str, other_key: str) -> None:
    kept = hashed(secret, key)
    assert matches(secret, key, kept)
    assert matches(other, key, kept) is (other == secret)
    # HMAC fills short keys with zeros.
    assert matches(secret, other_key, kept) is (other_key.encode().ljust(64, b"\0") == key.encode().ljust(64, b"\0"))
    assert kept != hashed(secret, key) and (len(secret) < 4 or secret not in kept)


@pytest.mark.parametrize("kept", [None, "", "x", ":", "****:abc", 5, ["a"], {"a": 1}])
def test_what_is_no_hash_matches_nothing(kept: Any) -> None:
    assert not matches("secret", "key", kept)


def test_a_hash_that_holds_stays() -> None:
    kept = hashes_of({"a": "1", "b": "2"}, "key", {})
    again = hashes_of({"a": "1", "b": "3"}, "key", kept)
    assert again["a"] == kept["a"] and again["b"] != kept["b"]


def test_what_a_diff_shows_of_secrets() -> None:
    kept = hashes_of({"same": "1", "rotated": "2", "gone": "3"}, "", {})
    before, after = compared({"same": "1", "rotated": "x", "new": "4"}, "", kept, kept)
    assert before == {"gone": HIDDEN, "rotated": HIDDEN, "same": HIDDEN}
    assert after == {"new": HIDDEN, "rotated": f"{HIDDEN} (changed)", "same": HIDDEN}
    assert compared(None, "", ["a"], {}) == ({"a": HIDDEN}, {"a": HIDDEN})
    # A secret of which no hash is known may be any.
    assert compared({"a": "1"}, "", ["a"], {})[1] == {"a": f"{HIDDEN} (changed)"}


@settings(max_examples=50, deadline=None)
@given(SETTINGS, SECRETS)
def test_secrets_go_in_and_come_out(settings: dict[str, Any], values: dict[str, str]) -> None:
    plain = without(settings, values)
    shown = nested(dict.fromkeys(values, REDACTED), plain)
    assert set(redacted(shown)) == set(values)
    if not any(name.split(".")[0] in plain for name in values):
        assert without(shown, values) == plain
    assert flat("x", nested(values, {})) == values


def test_secrets_that_are_no_texts() -> None:
    assert flat("s", {"a": 5, "b": "", "c": None, "d": {"e": "x"}}) == {"a": "5", "d.e": "x"}
    for wrong in (True, ["hidden-for-good"]):
        with pytest.raises(InputError, match=r"^s\.a\.b: must be a text$"):
            flat("s", {"a": {"b": wrong}})


def test_credentials_in_an_address_are_refused_unseen() -> None:
    check_addresses("settings", {"url": "http://host:8080/a?to=me@example.org", "n": 5})
    with pytest.raises(InputError, match=r"^settings\.urls\[0\]: must have no credentials") as refused:
        check_addresses("settings", {"urls": ["https://me:swordfish@host/"]})
    assert "swordfish" not in str(refused.value)


def test_all_secrets_among_options_are_found_before_anything_is_checked() -> None:
    options = {
        "password": "one",
        "token": "two",
        "integrations": [{"settings": {"url": "shown"}, "secure_settings": {"a": {"b": "three"}, "c": ["four"]}}],
        "secure_json_data": "five",
        "hash_key": "",
    }
    assert sorted(secrets_in(options)) == ["five", "four", "one", "three", "two"]
