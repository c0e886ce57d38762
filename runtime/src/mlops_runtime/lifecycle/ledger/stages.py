# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The seconds that each stage of the loop took, once for each episode."""

from __future__ import annotations

import uuid
from typing import Any, Final

from psycopg import sql

from mlops_runtime.lifecycle.ledger.database import Connection

ALERT: Final = "alert"
"""From the alert's beginning until it was here."""
DECIDE: Final = "decide"
"""From there until its run was decided on: cool-down, limit and approval are in it."""
START: Final = "start"
"""From there until the pipeline server had the run."""
WAIT: Final = "wait"
"""From there until a worker had begun it."""
TRAIN: Final = "train"
PROMOTE: Final = "promote"
"""From the run's end until the champion was another version; 0 where the run moved the alias itself."""
ALL: Final = (ALERT, DECIDE, START, WAIT, TRAIN, PROMOTE)


async def between(connection: Connection, episode: uuid.UUID, stage: str, begin: str, end: str) -> None:
    """Notes the time between two columns of the episode or its run, where both are known and it isn't noted yet."""
    query = sql.SQL(
        "INSERT INTO stages (episode, stage, seconds)"
        " SELECT e.id, %s, greatest(0, extract(epoch FROM {end} - {begin})) FROM episodes e"
        " LEFT JOIN (SELECT episode, queued_at, created_at, began_at AS run_began_at, ended_at AS run_ended_at"
        " FROM runs) r ON r.episode = e.id WHERE e.id = %s AND {end} - {begin} IS NOT NULL ON CONFLICT DO NOTHING"
    ).format(begin=sql.Identifier(begin), end=sql.Identifier(end))
    await connection.execute(query, [stage, episode])


async def promoted(connection: Connection) -> None:
    """Runs after which the champion became another version, before the model's next run began."""
    await connection.execute(
        "INSERT INTO stages (episode, stage, seconds)"
        " SELECT r.episode, 'promote', greatest(0, extract(epoch FROM min(a.since) - r.ended_at))"
        " FROM runs r JOIN aliases a ON a.model = r.model AND a.alias = 'champion' AND a.version <> r.version"
        " AND a.since >= r.created_at WHERE r.state = 'completed' AND r.ended_at > now() - interval '30 days'"
        " AND NOT EXISTS (SELECT 1 FROM stages s WHERE s.episode = r.episode AND s.stage = 'promote')"
        " AND a.since < coalesce((SELECT min(n.created_at) FROM runs n WHERE n.model = r.model"
        " AND n.created_at > r.created_at), 'infinity')"
        " GROUP BY r.episode ON CONFLICT DO NOTHING"
    )


async def newest(connection: Connection) -> list[dict[str, Any]]:
    """Of each model and stage the newest: model, stage, seconds."""
    return await (
        await connection.execute(
            "SELECT DISTINCT ON (e.model, s.stage) e.model, s.stage, s.seconds"
            " FROM stages s JOIN episodes e ON e.id = s.episode ORDER BY e.model, s.stage, s.at DESC"
        )
    ).fetchall()
