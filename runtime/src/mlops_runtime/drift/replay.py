# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A recorded stream through an artefact: what the service would have said of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from mlops_runtime.drift.artefact import Artefact
from mlops_runtime.drift.stream import Message, Standing, Stream, StreamAlarm
from mlops_runtime.drift.tables import read_table

BATCH = 1000
REPLAYED = "replayed"
"""What all versions are called where none is asked for."""


@dataclass
class Totals:
    """What came of a stream."""

    messages: int = 0
    rows: int = 0
    alarms: int = 0
    dead: dict[str, int] = field(default_factory=dict)
    passed_over: int = 0
    """Of other versions."""
    digest: str = ""


class OneArtefact:
    """Records of one version, or of all as if they were of one."""

    def __init__(self, artefact: Artefact, version: str = "") -> None:
        self._artefact, self._version = artefact, version

    def find(self, version: str | None, _made: float = -math.inf) -> tuple[str, Artefact | Standing]:
        if self._version and version is not None and version != self._version:
            return version, Standing.UNWATCHED
        return self._version or REPLAYED, self._artefact


class Replay:
    """Iterate over `alarms`; then `totals` are complete."""

    def __init__(self, artefact: Artefact, model: str, version: str = "") -> None:
        self._stream = Stream(model, OneArtefact(artefact, version))
        self.totals = Totals()

    def alarms(self, values: Iterable[bytes]) -> Iterator[StreamAlarm]:
        """Of messages, each the JSON of a record, in their order."""
        batch: list[Message] = []
        for value in values:
            batch.append(Message(self.totals.messages, 0, value))
            self.totals.messages += 1
            if len(batch) == BATCH:
                yield from self._take(batch)
                batch = []
        yield from self._take(batch)
        self.totals.rows = sum(watcher.rows for watcher in self._stream.watchers.values())
        self.totals.dead = dict(self._stream.dead)
        self.totals.passed_over = sum(self._stream.unwatched.values())
        self.totals.digest = self._stream.digest()

    def _take(self, batch: list[Message]) -> Iterator[StreamAlarm]:
        for alarm in self._stream.take(batch).alarms:
            self.totals.alarms += 1
            yield alarm


def lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Records of a JSONL file."""
    for line in stream:
        if stripped := line.strip():
            yield stripped


def rows_of(path: Path) -> Iterator[bytes]:
    """The rows of a table as records."""
    table = read_table(path)
    names = list(table)
    for row in zip(*table.values(), strict=True):
        yield orjson.dumps({"names": names, "X": [[_plain(value) for value in row]]})


def _plain(value: Any) -> Any:
    item = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(item, float) and math.isnan(item) else item
