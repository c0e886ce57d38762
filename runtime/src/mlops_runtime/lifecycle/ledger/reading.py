# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the ledger tells: by HTTP, on the page, in metrics. It only reads."""

from __future__ import annotations

import json
import uuid
from typing import Any, Final

from mlops_runtime.lifecycle.ledger import models, served
from mlops_runtime.lifecycle.ledger.database import Connection
from mlops_runtime.lifecycle.ledger.models import Model
from mlops_runtime.lifecycle.serving.desired import Plan

Rows = list[dict[str, Any]]
MOST: Final = 500

_EPISODE: Final = """
SELECT e.*,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('name', a.name, 'summary', a.summary, 'labels', a.labels,
        'began_at', a.began_at, 'seen_at', a.seen_at, 'ended', a.ended, 'times', a.times) ORDER BY a.began_at), '[]')
        FROM alerts a WHERE a.episode = e.id) AS alerts,
    (SELECT to_jsonb(r) - 'episode' - 'model' - 'version' - 'next_attempt_at'
        FROM runs r WHERE r.episode = e.id) AS run,
    (SELECT coalesce(jsonb_object_agg(s.stage, s.seconds), '{}') FROM stages s WHERE s.episode = e.id) AS stages
FROM episodes e
"""


async def registered(connection: Connection) -> Rows:
    """Models with what their aliases name, since when, what is wrong with their declarations, what serves, and
    whether serving has followed all of that."""
    since = await (await connection.execute("SELECT model, alias, since FROM aliases WHERE until IS NULL")).fetchall()
    times = {(row["model"], row["alias"]): row["since"] for row in since}
    now = await (await connection.execute("SELECT model, role, version FROM served WHERE until IS NULL")).fetchall()
    plans = await served.last_plans(connection)
    found = []
    for model in (await models.known(connection)).values():
        problem = models.problem_of(model.spec)
        retraining = None if problem else model.declaration().retraining
        found.append(
            {
                "model": model.name,
                "aliases": {
                    alias: {"version": version, "since": times.get((model.name, alias))}
                    for alias, version in model.aliases.items()
                },
                "retraining": retraining
                and {"action": retraining.action, "cooldown": retraining.cooldown, **retraining.kept()},
                "problem": problem,
                "spec": None if problem else json.loads(model.spec),
                "serves": {row["role"]: row["version"] for row in now if row["model"] == model.name},
                "followed": _followed(model, plans.get(model.name)),
            }
        )
    return found


def _followed(model: Model, plan: Plan | None) -> bool:
    """Whether what was healthy last is what the registry says now. A model without a champion has no plan."""
    if models.CHAMPION not in model.aliases:
        return plan is None
    versions = {role: version.version for role, version in plan.roles.items()} if plan else {}
    return plan is not None and plan.spec == model.spec and versions == model.aliases


async def episodes(connection: Connection, model: str = "", limit: int = 50, *, open_only: bool = False) -> Rows:
    """The newest first, each with its alerts, run and stage times."""
    query = (
        _EPISODE + "WHERE (%(model)s = '' OR model = %(model)s) AND (NOT %(open)s OR closed_at IS NULL)"
        " ORDER BY opened_at DESC, id LIMIT %(limit)s"
    )
    return await (
        await connection.execute(query, {"model": model, "open": open_only, "limit": min(limit, MOST)})
    ).fetchall()


async def episode(connection: Connection, identity: uuid.UUID) -> dict[str, Any] | None:
    return await (await connection.execute(_EPISODE + "WHERE id = %s", [identity])).fetchone()


async def decisions(connection: Connection, model: str = "", limit: int = 50) -> Rows:
    """The newest first."""
    query = (
        "SELECT id, at, model, version, episode, decision, reason FROM decisions"
        " WHERE %(model)s = '' OR model = %(model)s ORDER BY id DESC LIMIT %(limit)s"
    )
    return await (await connection.execute(query, {"model": model, "limit": min(limit, MOST)})).fetchall()


async def refusals(connection: Connection, limit: int = 50) -> Rows:
    """The newest first."""
    query = "SELECT kind, detail, times, first_at, last_at FROM refusals ORDER BY last_at DESC LIMIT %s"
    return await (await connection.execute(query, [min(limit, MOST)])).fetchall()


async def open_episodes(connection: Connection) -> Rows:
    """How many there are of each model and state."""
    query = "SELECT model, state, count(*) AS episodes FROM episodes WHERE closed_at IS NULL GROUP BY model, state"
    return await (await connection.execute(query)).fetchall()
