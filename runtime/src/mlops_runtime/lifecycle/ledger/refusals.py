# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Webhooks that were refused: counted here by reason, written now and then, so that no flood reaches the ledger."""

from __future__ import annotations

from collections import Counter
from typing import Final

from mlops_runtime.lifecycle.ledger.database import Connection

_HELD: Final = 100
"""Different ones between two writings; more are counted together."""
_KEPT: Final = 1000
_DETAIL: Final = 300
_OTHERS: Final = "others"


class Refusals:
    """For one event loop."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, kind: str, detail: str) -> None:
        key = (kind, detail[:_DETAIL])
        if key not in self._counts and len(self._counts) >= _HELD:
            key = (kind, _OTHERS)
        self._counts[key] += 1

    async def write(self, connection: Connection) -> None:
        """What was counted since the last time; it is kept where the ledger doesn't take it."""
        counts = self._counts
        if not counts:
            return
        self._counts = Counter()
        try:
            # In one order, so that two writers can't wait for each other.
            for (kind, detail), times in sorted(counts.items()):
                await connection.execute(
                    "INSERT INTO refusals (kind, detail, times) VALUES (%s, %s, %s) ON CONFLICT (kind, detail)"
                    " DO UPDATE SET times = refusals.times + excluded.times, last_at = now()",
                    [kind, detail, times],
                )
            await connection.execute(
                "DELETE FROM refusals WHERE (kind, detail) IN"
                " (SELECT kind, detail FROM refusals ORDER BY last_at DESC OFFSET %s)",
                [_KEPT],
            )
        except BaseException:
            self._counts.update(counts)
            raise
