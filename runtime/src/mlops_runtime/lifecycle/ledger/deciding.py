# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Decisions about all open episodes. Who is accepted gets a run into the outbox, in the same transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops_runtime.lifecycle.ledger import episodes, models, stages
from mlops_runtime.lifecycle.ledger.database import Connection
from mlops_runtime.lifecycle.ledger.models import Model
from mlops_runtime.lifecycle.verdict import Situation, State, Verdict, decide


class UnanswerableError(Exception):
    """An episode that no answer is awaited of; the message says why."""


@dataclass
class _Runs:
    """What is under way, and when each model's newest run was decided on."""

    open: dict[str, int]
    newest: dict[str, datetime]

    @classmethod
    async def read(cls, connection: Connection) -> _Runs:
        rows = await (
            await connection.execute(
                "SELECT model, max(queued_at) AS newest, count(*) FILTER (WHERE state IN ('queued', 'started')) AS open"
                " FROM runs GROUP BY model"
            )
        ).fetchall()
        return cls({row["model"]: row["open"] for row in rows}, {row["model"]: row["newest"] for row in rows})


async def decide_all(connection: Connection, limit: int) -> list[Verdict]:
    """Looks at every open episode that has neither its run nor a refusal, the oldest first; returns what is new.

    The transaction has to hold the lock, see `episodes.lock`.
    """
    rows = await (
        await connection.execute(
            "SELECT *, now() AS now FROM episodes WHERE closed_at IS NULL AND state NOT IN ('accepted', 'refused')"
            " ORDER BY opened_at, id"
        )
    ).fetchall()
    if not rows:
        return []
    known, runs = await models.known(connection), await _Runs.read(connection)
    changed = []
    for row in rows:
        verdict = decide(_situation(row, known.get(row["model"]), runs, limit))
        if (verdict.state, verdict.reason) == (row["state"], row["reason"]):
            continue
        changed.append(verdict)
        await _write(connection, row, verdict)
        if verdict.state is State.ACCEPTED:
            runs.open[row["model"]] = runs.open.get(row["model"], 0) + 1
            runs.newest[row["model"]] = row["now"]
    return changed


async def answer(connection: Connection, episode: uuid.UUID, *, approve: bool, by: str, reason: str) -> None:
    """A person's answer, for good. The same answer once more changes nothing. Raises UnanswerableError.

    The transaction has to hold the lock, and to decide afterwards.
    """
    given = "approved" if approve else "refused"
    row = await (await connection.execute("SELECT * FROM episodes WHERE id = %s", [episode])).fetchone()
    if row is None:
        raise UnanswerableError("there is no such episode")
    if row["answer"] == given:
        return
    if row["answer"] is not None:
        raise UnanswerableError(f"{row['answered_by']} has {row['answer']} it")
    if row["closed_at"] is not None:
        raise UnanswerableError("its alerts are over")
    if row["state"] != State.ASKED:
        raise UnanswerableError(f"it is {row['state']}: {row['reason']}")
    await connection.execute(
        "UPDATE episodes SET answer = %s, answered_by = %s, answer_reason = %s WHERE id = %s",
        [given, by, reason, episode],
    )


def _situation(row: Mapping[str, Any], model: Model | None, runs: _Runs, limit: int) -> Situation:
    problem, retraining = "its model isn't registered any more", None
    if model is not None:
        problem = models.problem_of(model.spec)
        retraining = None if problem else model.declaration().retraining
    return Situation(
        now=row["now"],
        retraining=retraining,
        problem=problem,
        serves=model is not None and row["version"] in model.aliases.values(),
        firing=row["calm_since"] is None,
        answer=row["answer"] or "",
        answered_by=row["answered_by"] or "",
        answer_reason=row["answer_reason"] or "",
        last_run_at=runs.newest.get(row["model"]),
        model_runs=runs.open.get(row["model"], 0),
        all_runs=sum(runs.open.values()),
        limit=limit,
    )


async def _write(connection: Connection, row: Mapping[str, Any], verdict: Verdict) -> None:
    episode, model, version = row["id"], row["model"], row["version"]
    await connection.execute(
        "UPDATE episodes SET state = %s, reason = %s WHERE id = %s", [verdict.state.value, verdict.reason, episode]
    )
    await episodes.note(connection, model, version, episode, verdict.state.value, verdict.reason)
    if verdict.state is State.ACCEPTED:
        await connection.execute(
            "INSERT INTO runs (episode, model, version) VALUES (%s, %s, %s)", [episode, model, version]
        )
        await stages.between(connection, episode, stages.DECIDE, "opened_at", "queued_at")
