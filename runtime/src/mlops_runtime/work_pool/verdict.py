# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is to be done about a run, from what the cluster says of its job and what Prefect's server says of its state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from .agent import Job

FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
LINGER = 60.0
"""Seconds that a process may take to end after its run has."""
CANCELLED_LINGER = 30.0
CANCEL_WAITING, CANCEL_RUNNING = 10.0, 60.0
"""Seconds that a cancellation may take: who is asked first is the worker that started it, and the process itself."""
NEXT_TRY = 30.0
"""Seconds in which a run that is pending may belong to a job that is still to come."""


class Action(Enum):
    WAIT = "wait"
    REMOVE = "remove"
    CRASH = "crash"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Verdict:
    action: Action
    message: str = ""


@dataclass(frozen=True)
class FlowState:
    """A flow run's state: its type in Prefect's words, and since when."""

    type: str
    since: datetime


WAIT, REMOVE = Verdict(Action.WAIT), Verdict(Action.REMOVE)


def verdict(job: Job, flow: FlowState | None, now: datetime, *, superseded: bool = False) -> Verdict:
    """`flow` is None where the flow run was deleted; `superseded`: there is a later job of the same flow run."""
    if flow is None or superseded:
        return REMOVE
    in_state = (now - flow.since).total_seconds()
    if flow.type in FINAL:
        linger = CANCELLED_LINGER if flow.type == "CANCELLED" else LINGER
        return REMOVE if job.ended or in_state > linger else WAIT
    if flow.type in ("SCHEDULED", "PAUSED"):  # it waits for its next try inside its process, or without one
        return REMOVE if job.ended else WAIT
    if flow.type == "CANCELLING":
        patience = CANCEL_RUNNING if job.state == "running" else CANCEL_WAITING
        return Verdict(Action.CANCEL, "Its job was removed.") if job.ended or in_state > patience else WAIT
    return _of_unfinished(job, flow, now)


def _of_unfinished(job: Job, flow: FlowState, now: datetime) -> Verdict:
    """PENDING or RUNNING."""
    ended_ago = (now - job.since).total_seconds()
    if job.state == "lost":
        return Verdict(Action.CRASH, f"Its job was lost: {job.reason}")
    if job.state == "failed":
        if flow.type == "PENDING" and flow.since > job.since and ended_ago < NEXT_TRY:
            return WAIT
        code = "" if job.exit_code is None else f" with exit code {job.exit_code}"
        where = f" on {job.node}" if job.node else ""
        return Verdict(Action.CRASH, f"Its job failed{where}{code}: {job.reason}")
    if job.state == "succeeded":
        if ended_ago < LINGER:
            return WAIT
        return Verdict(Action.CRASH, "Its job has ended, and has told nobody how the run went.")
    waited = (now - job.created).total_seconds()
    if job.state != "running" and waited > job.patience:
        why = job.reason or "nobody says why"
        return Verdict(Action.CRASH, f"Its job didn't start within {job.patience:g} seconds: {why}")
    return WAIT
