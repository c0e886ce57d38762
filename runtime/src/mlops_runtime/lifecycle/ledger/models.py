# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The models as the registry told them last."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from _model_spec import InvalidModel, ModelSpec, from_tag
from psycopg.types.json import Jsonb

from mlops_runtime.lifecycle.ledger.database import Connection

CHAMPION: Final = "champion"
ALIASES: Final = (CHAMPION, "challenger", "shadow")


@dataclass(frozen=True)
class Model:
    """A registered model with a declaration. `aliases`: version by alias, of those that decide what serves."""

    name: str
    spec: str
    aliases: Mapping[str, str] = field(default_factory=dict)

    def declaration(self) -> ModelSpec:
        """Raises InvalidModel."""
        return _declaration(self.spec)


@functools.lru_cache(maxsize=1000)
def _declaration(spec: str) -> ModelSpec:
    return from_tag(spec)


def problem_of(spec: str) -> str:
    """Why a declaration can't be used; empty if it can."""
    try:
        _declaration(spec)
    except InvalidModel as error:
        return "; ".join(error.problems)
    return ""


async def was_read(connection: Connection) -> bool:
    """Whether the registry has ever answered."""
    return await (await connection.execute("SELECT 1 FROM registry_readings")).fetchone() is not None


async def known(connection: Connection) -> dict[str, Model]:
    rows = await (await connection.execute("SELECT name, spec, aliases FROM models ORDER BY name")).fetchall()
    return {row["name"]: Model(row["name"], row["spec"], row["aliases"]) for row in rows}


async def registered(connection: Connection) -> int:
    """How many models the registry had at last, with a declaration or without."""
    row = await (await connection.execute("SELECT registered FROM registry_readings")).fetchone()
    return int(row["registered"]) if row else 0


async def keep(connection: Connection, found: Iterable[Model], registered: int) -> list[str]:
    """Makes the ledger say what the registry says; returns a line for each alias that has moved. One at a time.

    `registered`: how many models it has, with a declaration or without.
    """
    await connection.execute("LOCK TABLE models IN SHARE ROW EXCLUSIVE MODE")
    before, now = await known(connection), {model.name: model for model in found}
    moved = []
    for name in {*before, *now}:
        if before.get(name) == now.get(name):
            continue
        if model := now.get(name):
            await connection.execute(
                "INSERT INTO models (name, spec, aliases) VALUES (%s, %s, %s) ON CONFLICT (name)"
                " DO UPDATE SET spec = excluded.spec, aliases = excluded.aliases, changed_at = now()",
                [name, model.spec, Jsonb(dict(model.aliases))],
            )
        else:
            await connection.execute("DELETE FROM models WHERE name = %s", [name])
        old = before[name].aliases if name in before else {}
        moved += await _move(connection, name, old, model.aliases if model else {})
    await connection.execute(
        "INSERT INTO registry_readings (read_at, registered) VALUES (now(), %s)"
        " ON CONFLICT (one) DO UPDATE SET read_at = excluded.read_at, registered = excluded.registered",
        [registered],
    )
    return moved


async def _move(connection: Connection, model: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    moved = []
    for alias in sorted({*old, *new}):
        if old.get(alias) == new.get(alias):
            continue
        await connection.execute(
            "UPDATE aliases SET until = now() WHERE model = %s AND alias = %s AND until IS NULL", [model, alias]
        )
        version = new.get(alias, "")
        if version:
            await connection.execute(
                "INSERT INTO aliases (model, alias, version) VALUES (%s, %s, %s)", [model, alias, version]
            )
        reason = f"{alias} was {old.get(alias) or 'nothing'}, and is {version or 'nothing'} in the registry"
        await connection.execute(
            "INSERT INTO decisions (model, version, decision, reason) VALUES (%s, %s, 'alias', %s)",
            [model, version or old[alias], reason],
        )
        moved.append(f"{model}: {reason}")
    return moved
