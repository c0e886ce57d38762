# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is done about an episode, by table, and what holds whatever the situation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from _model_spec.retraining import Retraining, Trigger
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops_runtime.lifecycle.verdict import Situation, State, decide

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
RETRAINING = Retraining(on=(Trigger("drift"),))
PLAIN = Situation(now=NOW, retraining=RETRAINING)
ASK, NOTIFY = replace(RETRAINING, action="ask"), replace(RETRAINING, action="notify")
APPROVED = {"answer": "approved", "answered_by": "ann"}


@pytest.mark.parametrize(
    ("changes", "state", "reason"),
    [
        ({}, State.ACCEPTED, "an alert fires, and its declaration says retrain"),
        ({"problem": "its model isn't registered any more"}, State.HELD, "isn't registered any more"),
        ({"retraining": None}, State.HELD, "its declaration has no retraining"),
        ({"retraining": replace(RETRAINING, on=())}, State.HELD, "no alert retrains it"),
        ({"retraining": NOTIFY}, State.NOTIFIED, "its declaration says notify"),
        ({"retraining": ASK}, State.ASKED, "a person has to approve it"),
        ({"retraining": ASK, **APPROVED}, State.ACCEPTED, "approved by ann"),
        ({"retraining": ASK, **APPROVED, "answer_reason": "so be it"}, State.ACCEPTED, "approved by ann: so be it"),
        ({"retraining": ASK, "answer": "refused", "answered_by": "ann"}, State.REFUSED, "refused by ann"),
        ({"serves": False}, State.HELD, "no alias names this version"),
        ({"firing": False}, State.HELD, "no alert fires now"),
        ({"firing": False, "retraining": ASK}, State.HELD, "no alert fires now"),
        ({"model_runs": 1, "all_runs": 1, "limit": 9}, State.HELD, "another retraining of this model hasn't ended"),
        (
            {"last_run_at": NOW - timedelta(minutes=59)},
            State.HELD,
            "cool-down of 1h until 2026-11-29 12:01:00 UTC",
        ),
        ({"last_run_at": NOW - timedelta(minutes=60)}, State.ACCEPTED, "an alert fires"),
        ({"last_run_at": NOW, "retraining": ASK, **APPROVED}, State.ACCEPTED, "approved by ann"),
        ({"all_runs": 2, "limit": 2}, State.HELD, "2 retraining runs at once are the limit"),
        ({"all_runs": 2, "limit": 2, "retraining": ASK, **APPROVED}, State.HELD, "are the limit"),
    ],
)
def test_by_table(changes: dict[str, Any], state: State, reason: str) -> None:
    verdict = decide(replace(PLAIN, **changes))
    assert verdict.state is state and reason in verdict.reason


situations = st.builds(
    Situation,
    now=st.just(NOW),
    retraining=st.none() | st.builds(
        Retraining,
        on=st.sampled_from([(), (Trigger("drift"),)]),
        action=st.sampled_from(["retrain", "notify", "ask"]),
        cooldown=st.sampled_from(["0s", "1m", "2h"]),
    ),
    problem=st.sampled_from(["", "unknown"]),
    serves=st.booleans(),
    firing=st.booleans(),
    answer=st.sampled_from(["", "approved", "refused"]),
    last_run_at=st.none() | st.integers(0, 20_000).map(lambda ago: NOW - timedelta(seconds=ago)),
    model_runs=st.integers(0, 2),
    all_runs=st.integers(0, 3),
    limit=st.integers(1, 3),
)  # fmt: skip


@settings(deadline=None)
@given(situations)
def test_a_run_begins_only_where_everything_speaks_for_it(found: Situation) -> None:
    verdict = decide(found)
    assert verdict.reason
    if verdict.state is State.ACCEPTED:
        assert found.retraining and found.retraining.on and not found.problem
        assert found.firing and found.serves and not found.model_runs and found.all_runs < found.limit
        assert found.retraining.action == "retrain" or found.answer == "approved"
        assert found.answer != "refused"


@settings(deadline=None)
@given(situations)
def test_without_an_answer_asking_never_runs_and_notifying_never_does(found: Situation) -> None:
    if found.retraining and (
        found.retraining.action == "notify" or (found.retraining.action == "ask" and not found.answer)
    ):
        assert decide(found).state is not State.ACCEPTED
