# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The page: what it shows, that nothing in it is markup, and whose forms are taken."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from mlops_runtime.lifecycle import page
from mlops_runtime.lifecycle.page import TOKEN_SECONDS, Tokens, answer, fields

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
EVIL = '"><script>x</script>'
NOTHING: dict[str, Any] = {"models": [], "open": [], "episodes": [], "decisions": [], "served": [], "refusals": []}
ASKED: dict[str, Any] = {
    "id": uuid.UUID(int=7), "model": EVIL, "version": EVIL, "state": "asked", "reason": EVIL, "cause": EVIL,
    "began_at": NOW, "opened_at": NOW, "closed_at": None, "stages": {"alert": 1.25},
    "alerts": [{"name": EVIL, "summary": EVIL, "ended": None}],
    "run": {"flow_run_name": EVIL, "state": "failed", "reason": EVIL},
}  # fmt: skip
FULL: dict[str, Any] = {
    "models": [
        {"model": EVIL, "aliases": {"champion": {"version": EVIL, "since": None}}, "retraining": None, "problem": EVIL},
        {"model": "m", "aliases": {}, "retraining": {"action": EVIL, "cooldown": EVIL}, "problem": ""},
    ],
    "open": [ASKED],
    "episodes": [ASKED],
    "decisions": [{"at": NOW, "model": EVIL, "version": EVIL, "decision": EVIL, "reason": EVIL}],
    "served": [{"since": NOW, "until": None, "model": EVIL, "version": EVIL, "role": EVIL, "reason": EVIL}],
    "refusals": [{"last_at": NOW, "times": 3, "kind": EVIL, "detail": EVIL}],
}


def shown(seen: dict[str, Any], **more: Any) -> str:
    found = answer(seen, **{"problems": {}, "token": None, **more})
    assert "frame-ancestors 'none'" in found.headers["content-security-policy"]
    return bytes(found.body).decode()


def test_an_empty_ledger() -> None:
    assert shown(NOTHING).count("None yet.") == 2


def test_nothing_that_came_from_outside_is_markup() -> None:
    text = shown(FULL, problems={EVIL: EVIL}, token=lambda _: EVIL)
    assert "<script" not in text and text.count("&lt;script&gt;") > 15


def test_who_may_not_approve_sees_no_form() -> None:
    assert "<form" not in shown(FULL)
    text = shown(FULL, token=lambda episode: f"token-of-{episode.int}")
    assert 'value="token-of-7"' in text and "http-equiv" not in text


def test_a_token_is_of_one_client_one_episode_and_one_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(b"key")
    token = tokens.make("ann", "7")
    assert tokens.holds(token, "ann", "7") and Tokens(b"key").holds(token, "ann", "7")
    assert not tokens.holds(token, "bob", "7") and not tokens.holds(token, "ann", "8")
    assert not Tokens(b"other").holds(token, "ann", "7")
    for wrong in ("", ".", "x.y", f"9{token}", "ä.ä"):
        assert not tokens.holds(wrong, "ann", "7")
    later = time.time() + TOKEN_SECONDS + 1
    monkeypatch.setattr(page.time, "time", lambda: later)
    assert not tokens.holds(token, "ann", "7")


def test_fields_of_a_form() -> None:
    assert fields(b"token=1.a&reason=not+now%21") == {"token": "1.a", "reason": "not now!"}
    assert fields(b"\xff\xfe") == {}
