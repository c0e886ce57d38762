# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs on their way to the pipeline server, and what becomes of them there.

An attempt is committed before it is made. Whoever dies in between leaves a run that is sent again under the same key,
its episode's id, which the server takes once.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from mlops_runtime.lifecycle.ledger import episodes, stages
from mlops_runtime.lifecycle.ledger.database import Connection
from mlops_runtime.lifecycle.pipelines import Run

LEASE_SECONDS: Final = 20
"""So that two don't try at once; it would do no harm."""
_LONGEST_SECONDS: Final = 60
RESUMES: Final = 3
"""So often a run that crashed is begun again."""
RESUME_SECONDS: Final = 10
"""After so long the first time; then twice that, then four times."""


async def claim(connection: Connection) -> dict[str, Any] | None:
    """The next run to send, if one is due; nobody else takes it while the lease lasts."""
    return await (
        await connection.execute(
            "UPDATE runs SET attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => %s)"
            " WHERE episode = (SELECT episode FROM runs WHERE state = 'queued' AND next_attempt_at <= now()"
            " ORDER BY queued_at LIMIT 1 FOR UPDATE SKIP LOCKED)"
            " RETURNING episode, model, version, attempts",
            [LEASE_SECONDS],
        )
    ).fetchone()


async def put_off(connection: Connection, episode: uuid.UUID, reason: str) -> bool:
    """It couldn't be sent: again after 1, 2, 4 ... 60 seconds. Returns whether the reason is a new one."""
    row = await (
        await connection.execute(
            "UPDATE runs r SET reason = %s, next_attempt_at ="
            " now() + make_interval(secs => least(%s, power(2, least(r.attempts, 10) - 1)))"
            " FROM (SELECT episode, reason FROM runs WHERE episode = %s FOR UPDATE) b"
            " WHERE r.episode = b.episode AND r.state = 'queued' RETURNING r.model, r.version, b.reason AS before",
            [reason, _LONGEST_SECONDS, episode],
        )
    ).fetchone()
    if row is None or row["before"] == reason:
        return False
    await episodes.note(connection, row["model"], row["version"], episode, "waits", reason)
    return True


async def sent(connection: Connection, episode: uuid.UUID, run: Run) -> bool:
    """The server has it. Returns whether this is news."""
    row = await (
        await connection.execute(
            "UPDATE runs SET state = 'started', reason = '', flow_run = %s, flow_run_name = %s, flow_state = %s,"
            " created_at = now(), next_attempt_at = now() WHERE episode = %s AND state = 'queued'"
            " RETURNING model, version",
            [run.id, run.name, run.state, episode],
        )
    ).fetchone()
    if row is None:
        return False
    await episodes.note(connection, row["model"], row["version"], episode, "started", f"run {run.name} ({run.id})")
    await stages.between(connection, episode, stages.START, "queued_at", "created_at")
    return True


async def started(connection: Connection) -> dict[uuid.UUID, uuid.UUID]:
    """Runs that the server has and that haven't ended: episode by the server's id."""
    rows = await (await connection.execute("SELECT episode, flow_run FROM runs WHERE state = 'started'")).fetchall()
    return {row["flow_run"]: row["episode"] for row in rows}


async def resume(connection: Connection, episode: uuid.UUID, run: Run) -> float | None:
    """A run that crashed: seconds after which it is to be begun again, None where that was done often enough.

    Counted before it is done: whoever dies in between has done it once less.
    """
    row = await (
        await connection.execute(
            "UPDATE runs SET resumed = resumed + 1 WHERE episode = %s AND state = 'started' AND resumed < %s"
            " RETURNING model, version, resumed",
            [episode, RESUMES],
        )
    ).fetchone()
    if row is None:
        return None
    said = f"run {run.name}: {run.reason or 'it crashed'}; it is begun again ({row['resumed']} of {RESUMES})"
    await episodes.note(connection, row["model"], row["version"], episode, "resumed", said)
    return float(RESUME_SECONDS * 2 ** (row["resumed"] - 1))


async def follow(connection: Connection, episode: uuid.UUID, run: Run) -> bool:
    """How a run is now. Returns whether it has ended with this."""
    await connection.execute(
        "UPDATE runs SET flow_state = %s, began_at = %s, ended_at = %s WHERE episode = %s AND state = 'started'",
        [run.state, run.began_at, run.ended_at, episode],
    )
    await stages.between(connection, episode, stages.WAIT, "created_at", "run_began_at")
    if not run.outcome:
        return False
    ended = await _end(connection, episode, run.outcome, run.reason)
    if ended:
        await stages.between(connection, episode, stages.TRAIN, "run_began_at", "run_ended_at")
    return ended


async def lose(connection: Connection, episode: uuid.UUID) -> bool:
    """The server knows a run no more."""
    return await _end(connection, episode, "lost", "the pipeline server doesn't know the run any more")


async def _end(connection: Connection, episode: uuid.UUID, outcome: str, reason: str) -> bool:
    row = await (
        await connection.execute(
            "UPDATE runs SET state = %s, reason = %s, ended_at = coalesce(ended_at, now())"
            " WHERE episode = %s AND state = 'started' RETURNING model, version, flow_run_name",
            [outcome, reason, episode],
        )
    ).fetchone()
    if row is None:
        return False
    said = f"run {row['flow_run_name']}" + (f": {reason}" if reason else "")
    await episodes.note(connection, row["model"], row["version"], episode, outcome, said)
    return True
