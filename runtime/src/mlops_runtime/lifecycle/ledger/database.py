# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Connections to the ledger, and its schema: numbered files, each applied once, in one transaction."""

from __future__ import annotations

import logging
import re
from importlib import resources
from typing import Any, Final

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

log = logging.getLogger(__name__)

Connection = psycopg.AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Connection]

DECIDING: Final = 6_001
"""Advisory lock of whoever decides: limits are counted by one at a time."""
_MIGRATING: Final = 6_002
_SECONDS: Final = 5.0
_OPTIONS: Final[dict[str, Any]] = {
    "row_factory": dict_row,
    "connect_timeout": 5,
    "application_name": "lifecycle",
    # A connection whose peer is gone is noticed, and no statement holds the decisions up for long.
    "tcp_user_timeout": 10_000,
    "options": "-c statement_timeout=10s -c idle_in_transaction_session_timeout=30s",
}


class LedgerError(Exception):
    """The ledger can't be used; the message says why and what to do."""


def pool(conninfo: str, connections: int = 6) -> Pool:
    """Connections that are made anew after the database was away. It has to be opened in the event loop."""
    return AsyncConnectionPool(
        conninfo,
        connection_class=Connection,
        kwargs=_OPTIONS,
        min_size=1,
        max_size=connections,
        timeout=_SECONDS,
        reconnect_timeout=30,
        check=AsyncConnectionPool.check_connection,
        open=False,
    )


def migrations() -> list[tuple[int, str]]:
    """Number and SQL of each step, in order."""
    folder = resources.files(__package__) / "schema"
    found = [(re.fullmatch(r"(\d{4})\.sql", item.name), item) for item in folder.iterdir()]
    return sorted((int(match[1]), item.read_text(encoding="utf-8")) for match, item in found if match)


async def schema_version(connection: Connection) -> int:
    """0 where there is no schema yet."""
    row = await (await connection.execute("SELECT to_regclass('schema_steps') IS NOT NULL AS there")).fetchone()
    if not row or not row["there"]:
        return 0
    row = await (await connection.execute("SELECT coalesce(max(step), 0) AS step FROM schema_steps")).fetchone()
    return int(row["step"]) if row else 0


async def check_schema(connection: Connection) -> None:
    """Raises LedgerError where the schema isn't the one that this release needs."""
    there, needed = await schema_version(connection), migrations()[-1][0]
    if there < needed:
        raise LedgerError(f"the ledger's schema is at step {there}, and {needed} is needed: run the command migrate")


async def migrate(conninfo: str) -> int:
    """Brings the schema to this release's step and returns how many steps that took. Several may try at once.

    Raises psycopg.Error, and LedgerError where a newer release has been there.
    """
    async with await Connection.connect(conninfo, **_OPTIONS) as connection:
        await connection.execute("SET LOCAL statement_timeout = 0")
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATING])
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_steps (step integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())"
        )
        there, steps = await schema_version(connection), migrations()
        if there > steps[-1][0]:
            raise LedgerError(
                f"the ledger's schema is at step {there}; this release knows {steps[-1][0]}: run a newer one"
            )
        todo = [step for step in steps if step[0] > there]
        for number, sql in todo:
            await connection.execute(sql)
            await connection.execute("INSERT INTO schema_steps (step) VALUES (%s)", [number])
            log.info("The ledger's schema is at step %d", number)
        return len(todo)
