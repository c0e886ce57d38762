# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is done about an episode: a pure function of the declaration and of what is going on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from _model_spec import Retraining, seconds


class State(StrEnum):
    """Where an episode stands."""

    HELD = "held"
    """Nothing is done now; it is looked at again."""
    ASKED = "asked"
    """A person has to say yes."""
    NOTIFIED = "notified"
    REFUSED = "refused"
    """A person has said no."""
    ACCEPTED = "accepted"
    """It has its run."""


FINAL = (State.REFUSED, State.ACCEPTED)


@dataclass(frozen=True)
class Situation:
    """What counts for one episode. `problem`: why nothing is known of its model's declaration."""

    now: datetime
    retraining: Retraining | None
    problem: str = ""
    serves: bool = True
    """An alias names the version."""
    firing: bool = True
    answer: str = ""
    """`approved` or `refused`, once a person has said so."""
    answered_by: str = ""
    answer_reason: str = ""
    last_run_at: datetime | None = None
    """When the model's newest run was decided on."""
    model_runs: int = 0
    """Runs of this model that haven't ended."""
    all_runs: int = 0
    limit: int = 1


@dataclass(frozen=True)
class Verdict:
    state: State
    reason: str


def decide(found: Situation) -> Verdict:
    """Whether the episode's run starts now, and the reason for that."""
    retraining = found.retraining
    if found.problem:
        return Verdict(State.HELD, found.problem)
    if retraining is None:
        return Verdict(State.HELD, "its declaration has no retraining")
    if not retraining.on:
        return Verdict(State.HELD, "no alert retrains it: its declaration has no retraining.on")
    if found.answer == "refused":
        return Verdict(State.REFUSED, _said(found))
    if retraining.action == "notify":
        return Verdict(State.NOTIFIED, "its declaration says notify")
    if not found.serves:
        return Verdict(State.HELD, "no alias names this version")
    if not found.firing:
        return Verdict(State.HELD, "no alert fires now")
    if retraining.action == "ask" and not found.answer:
        return Verdict(State.ASKED, "its declaration says ask: a person has to approve it")
    return _timely(found, retraining)


def _timely(found: Situation, retraining: Retraining) -> Verdict:
    """Of a run that may be: whether it may be now."""
    if found.model_runs:
        return Verdict(State.HELD, "another retraining of this model hasn't ended")
    if found.last_run_at is not None and not found.answer:
        until = found.last_run_at + timedelta(seconds=seconds(retraining.cooldown))
        if found.now < until:
            return Verdict(State.HELD, f"cool-down of {retraining.cooldown} until {until:%Y-%m-%d %H:%M:%S %Z}")
    if found.all_runs >= found.limit:
        return Verdict(State.HELD, f"{found.limit} retraining runs at once are the limit")
    return Verdict(State.ACCEPTED, _said(found) if found.answer else "an alert fires, and its declaration says retrain")


def _said(found: Situation) -> str:
    return f"{found.answer} by {found.answered_by}" + (f": {found.answer_reason}" if found.answer_reason else "")
