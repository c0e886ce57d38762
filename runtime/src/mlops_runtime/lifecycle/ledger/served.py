# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What served when and why, and the last plan of each model that was healthy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from psycopg.types.json import Jsonb

from mlops_runtime.lifecycle.ledger import episodes
from mlops_runtime.lifecycle.ledger.database import Connection
from mlops_runtime.lifecycle.serving.agent import Running
from mlops_runtime.lifecycle.serving.desired import Plan, Version


async def last_plans(connection: Connection) -> dict[str, Plan]:
    rows = await (await connection.execute("SELECT model, spec, roles FROM plans")).fetchall()
    return {
        row["model"]: Plan(row["spec"], {role: Version(**version) for role, version in row["roles"].items()})
        for row in rows
    }


async def keep_plans(connection: Connection, plans: Mapping[str, Plan]) -> None:
    """They are healthy: from now on they are the last ones that were."""
    await connection.execute("DELETE FROM plans WHERE NOT model = ANY(%s)", [list(plans)])
    for model, plan in sorted(plans.items()):
        await connection.execute(
            "INSERT INTO plans (model, spec, roles) VALUES (%s, %s, %s)"
            " ON CONFLICT (model) DO UPDATE SET spec = excluded.spec, roles = excluded.roles",
            [model, plan.spec, Jsonb({role: asdict(version) for role, version in plan.roles.items()})],
        )


async def observe(connection: Connection, running: Iterable[Running], made: Callable[[str, str], str]) -> list[str]:
    """Notes what is healthy now; returns a line for each change. `made`: what the run that made a version was for."""
    rows = await (await connection.execute("SELECT model, role, version FROM served WHERE until IS NULL")).fetchall()
    before = {(row["model"], row["role"]): row["version"] for row in rows}
    now = {(item.model, item.role): item.version for item in running}
    changes = []
    for (model, role), version in sorted(now.items()):
        if before.get((model, role)) == version:
            continue
        was = before.get((model, role))
        alias = await _since(connection, model, role, version)
        named = f"{role} names it since {alias['since']:%Y-%m-%d %H:%M:%S %Z}" if alias else ""
        reason = (named or "the registry names another") + await _origin(connection, made(model, version))
        await _end(connection, model, role)
        await connection.execute(
            "INSERT INTO served (model, role, version, reason) VALUES (%s, %s, %s, %s)", [model, role, version, reason]
        )
        told = f"as {role}, after {was}" if was else f"as {role}"
        await episodes.note(connection, model, version, None, "serves", f"{told}: {reason}")
        changes.append(f"{model} version {version} serves {told}")
    # Who is missing may be restarting: it is over when the plan lacks it.
    planned = await last_plans(connection)
    for model, role in sorted(before.keys() - now.keys()):
        if model not in planned or role not in planned[model].roles:
            await _end(connection, model, role)
            await episodes.note(connection, model, before[model, role], None, "ended", f"it serves no more as {role}")
            changes.append(f"{model}: no {role} any more")
    return changes


async def history(connection: Connection, model: str = "", limit: int = 50) -> list[dict[str, Any]]:
    """What served when, the newest first."""
    query = (
        "SELECT model, role, version, since, until, reason FROM served"
        " WHERE %(model)s = '' OR model = %(model)s ORDER BY since DESC, id DESC LIMIT %(limit)s"
    )
    return await (await connection.execute(query, {"model": model, "limit": limit})).fetchall()


async def _since(connection: Connection, model: str, role: str, version: str) -> dict[str, Any] | None:
    query = "SELECT since FROM aliases WHERE model = %s AND alias = %s AND version = %s AND until IS NULL"
    return await (await connection.execute(query, [model, role, version])).fetchone()


async def _origin(connection: Connection, episode: str) -> str:
    if not episode:
        return ""
    query = "SELECT cause FROM episodes WHERE id::text = %s"
    found = await (await connection.execute(query, [episode])).fetchone()
    return (
        f"; made in the episode {episode}: {found['cause']}" if found else f"; made by the run {episode}, of no alert"
    )


async def _end(connection: Connection, model: str, role: str) -> None:
    await connection.execute(
        "UPDATE served SET until = now() WHERE model = %s AND role = %s AND until IS NULL", [model, role]
    )
