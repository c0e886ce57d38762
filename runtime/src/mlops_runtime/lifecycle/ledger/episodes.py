# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Episodes: a version has one open at most, from its first alert until all have been over for a while.

Everything in here runs in a transaction that holds the lock DECIDING.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

from psycopg.types.json import Jsonb

from mlops_runtime.lifecycle.alerts import Alert
from mlops_runtime.lifecycle.ledger import stages
from mlops_runtime.lifecycle.ledger.database import DECIDING, Connection
from mlops_runtime.lifecycle.verdict import FINAL

OPENED: Final = "opened"
CONTINUED: Final = "continued"
RESOLVED: Final = "resolved"
IGNORED: Final = "ignored"


@dataclass(frozen=True)
class Taken:
    """What an alert did: opened, continued, resolved or ignored, and the episode where there is one."""

    outcome: str
    episode: uuid.UUID | None = None
    reason: str = ""


async def lock(connection: Connection) -> None:
    """Until the transaction's end nobody else decides."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", [DECIDING])


async def take(connection: Connection, alert: Alert, version: str) -> Taken:
    """An alert as it came; the same once more changes nothing but when it was seen."""
    query = "SELECT id FROM episodes WHERE model = %s AND version = %s AND closed_at IS NULL"
    row = await (await connection.execute(query, [alert.model, version])).fetchone()
    episode = row["id"] if row else None
    return await (_fire(connection, alert, version, episode) if alert.firing else _resolve(connection, alert, episode))


async def version_of(connection: Connection, alert: Alert) -> str:
    """The version whose open episode this very occurrence is in; empty where there is none.

    An alert that names no version is about the champion of when it began, whoever is champion by now.
    """
    query = (
        "SELECT e.version FROM alerts a JOIN episodes e ON e.id = a.episode WHERE a.fingerprint = %s"
        " AND a.began_at = %s AND e.model = %s AND e.closed_at IS NULL ORDER BY e.opened_at DESC LIMIT 1"
    )
    found = await (await connection.execute(query, [alert.fingerprint, alert.began_at, alert.model])).fetchone()
    return str(found["version"]) if found else ""


async def _fire(connection: Connection, alert: Alert, version: str, episode: uuid.UUID | None) -> Taken:
    outcome = CONTINUED
    if episode is None:
        earlier = await _occurrence(connection, alert, version)
        if earlier and earlier["ended"] == "resolved" and earlier["state"] in FINAL:
            return Taken(IGNORED, earlier["id"], "this alert is over, and came late")
        if earlier:
            # It was taken to be over and isn't: still the same episode.
            episode = earlier["id"]
            await connection.execute("UPDATE episodes SET closed_at = NULL WHERE id = %s", [episode])
        else:
            outcome, episode = OPENED, await _open(connection, alert, version)
    await connection.execute(
        "INSERT INTO alerts (episode, fingerprint, name, summary, labels, began_at) VALUES (%s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (episode, fingerprint) DO UPDATE SET seen_at = now(), times = alerts.times + 1, ended = NULL,"
        " began_at = excluded.began_at, summary = excluded.summary, labels = excluded.labels"
        " WHERE excluded.began_at >= alerts.began_at",
        [episode, alert.fingerprint, alert.name, alert.summary, Jsonb(dict(alert.labels)), alert.began_at],
    )
    await _calm(connection, episode)
    return Taken(outcome, episode)


async def _resolve(connection: Connection, alert: Alert, episode: uuid.UUID | None) -> Taken:
    if episode is None:
        return Taken(IGNORED, None, "no episode of this version is open")
    query = (
        "UPDATE alerts SET ended = 'resolved', seen_at = now(), times = times + 1"
        " WHERE episode = %s AND fingerprint = %s AND began_at <= %s AND ended IS DISTINCT FROM 'resolved'"
    )
    changed = await connection.execute(query, [episode, alert.fingerprint, alert.began_at])
    await _calm(connection, episode)
    if not changed.rowcount:
        return Taken(IGNORED, episode, "this alert isn't known to fire, or began again meanwhile")
    return Taken(RESOLVED, episode)


async def _occurrence(connection: Connection, alert: Alert, version: str) -> dict[str, Any] | None:
    """The closed episode that this very occurrence of the alert was in."""
    query = (
        "SELECT e.id, e.state, a.ended FROM alerts a JOIN episodes e ON e.id = a.episode"
        " WHERE a.fingerprint = %s AND a.began_at = %s AND e.model = %s AND e.version = %s"
        " ORDER BY e.opened_at DESC LIMIT 1"
    )
    return await (await connection.execute(query, [alert.fingerprint, alert.began_at, alert.model, version])).fetchone()


async def _open(connection: Connection, alert: Alert, version: str) -> uuid.UUID:
    episode = uuid.uuid4()
    cause = f"{alert.name}: {alert.summary}" if alert.summary else alert.name
    await connection.execute(
        "INSERT INTO episodes (id, model, version, state, cause, reason, began_at)"
        " VALUES (%s, %s, %s, 'held', %s, '', %s)",
        [episode, alert.model, version, cause, alert.began_at],
    )
    await note(connection, alert.model, version, episode, "opened", cause)
    await stages.between(connection, episode, stages.ALERT, "began_at", "opened_at")
    return episode


async def _calm(connection: Connection, episode: uuid.UUID) -> None:
    await connection.execute(
        "UPDATE episodes SET calm_since = CASE"
        " WHEN EXISTS (SELECT 1 FROM alerts WHERE episode = episodes.id AND ended IS NULL) THEN NULL"
        " ELSE coalesce(calm_since, now()) END WHERE id = %s",
        [episode],
    )


async def settle(connection: Connection, settle_seconds: float, silent_seconds: float) -> int:
    """Closes episodes that have been calm for long enough, and returns how many.

    An alert that nobody repeats any more is taken to be over: its end was sent while nobody listened.
    """
    silent = await (
        await connection.execute(
            "UPDATE alerts SET ended = 'silent' FROM episodes e WHERE e.id = alerts.episode AND e.closed_at IS NULL"
            " AND alerts.ended IS NULL AND alerts.seen_at < now() - make_interval(secs => %s) RETURNING e.id",
            [silent_seconds],
        )
    ).fetchall()
    for row in silent:
        await _calm(connection, row["id"])
    closed = await (
        await connection.execute(
            "UPDATE episodes SET closed_at = now() WHERE closed_at IS NULL"
            " AND calm_since <= now() - make_interval(secs => %s) RETURNING id, model, version, calm_since",
            [settle_seconds],
        )
    ).fetchall()
    for row in closed:
        reason = f"no alert has fired since {row['calm_since']:%Y-%m-%d %H:%M:%S %Z}"
        await note(connection, row["model"], row["version"], row["id"], "closed", reason)
    return len(closed)


async def note(
    connection: Connection, model: str, version: str, episode: uuid.UUID | None, decision: str, reason: str
) -> None:
    """One line of the ledger's story."""
    await connection.execute(
        "INSERT INTO decisions (model, version, episode, decision, reason) VALUES (%s, %s, %s, %s, %s)",
        [model, version, episode, decision, reason],
    )
