# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Where chunks lie, and what is deleted when."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from mlops_runtime.contracts.mlflow import Mlflow
from mlops_runtime.drift.archive.chunk import LABELS, RECORDS, File, Message

EXPERIMENT: Final = "mlops-stream"
"""The experiment that the archive's artefacts belong to: who may read it may read the stream."""
FORMAT: Final = 1
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MANIFESTS: Final = "manifests"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of messages of one partition of one topic, from the first to the last offset."""

    model: str
    kind: str
    topic: str
    partition: int
    first: Message
    last: Message
    files: list[File]
    unreadable: int

    @property
    def manifest(self) -> str:
        """Known by where it begins: done again, it is the same."""
        return f"{_MANIFESTS}/{self.first.day}/{self.kind}-{self.partition:05d}-{self.first.offset:020d}.json"


class Store:
    """The archive of all models, below the artefacts of one experiment."""

    def __init__(self, mlflow: Mlflow, experiment: str = EXPERIMENT) -> None:
        self._mlflow = mlflow
        self._experiment = experiment
        self._root = ""

    def _path(self, model: str, below: str = "") -> str:
        if not self._root:
            self._root = self._mlflow.experiment(self._experiment)
        return f"{self._root}/stream/{model}/{below}".rstrip("/")

    def write(self, chunk: Chunk) -> int:
        """Store a chunk; returns its bytes. Its offsets may be committed afterwards."""
        for file in chunk.files:
            self._mlflow.put(self._path(chunk.model, file.path), file.body)
        document = {
            "format": FORMAT,
            "topic": chunk.topic,
            "partition": chunk.partition,
            "first_offset": chunk.first.offset,
            "last_offset": chunk.last.offset,
            "unreadable": chunk.unreadable,
            "files": [file.entry() for file in chunk.files],
        }
        self._mlflow.put(self._path(chunk.model, chunk.manifest), json.dumps(document, indent=1).encode())
        return sum(len(file.body) for file in chunk.files)

    def manifests(self, model: str, kind: str, since: date | None = None, until: date | None = None) -> Iterator[Any]:
        """The manifests of a kind whose chunks began on these days, both included, in order."""
        for day in self._days(model, _MANIFESTS):
            if (since is None or day >= since) and (until is None or day <= until):
                directory = self._path(model, f"{_MANIFESTS}/{day.isoformat()}")
                for entry in sorted(self._mlflow.list(directory), key=lambda entry: entry.path):
                    if entry.path.startswith(f"{kind}-") and entry.path.endswith(".json"):
                        yield json.loads(self._mlflow.get(f"{directory}/{entry.path}"))

    def get(self, model: str, path: str) -> bytes:
        return self._mlflow.get(self._path(model, path))

    def _days(self, model: str, directory: str) -> list[date]:
        names = [entry.path for entry in self._mlflow.list(self._path(model, directory)) if entry.is_directory]
        return sorted(date.fromisoformat(name) for name in names if _DAY.fullmatch(name))

    def delete_before(self, model: str, day: date) -> int:
        """Delete all of a model's stream that was written before a day, whether a manifest names it or not."""
        count = 0
        versions = [f"{RECORDS}/{version.path}" for version in self._mlflow.list(self._path(model, RECORDS))]
        for directory in (_MANIFESTS, LABELS, *versions):
            for found in self._days(model, directory):
                if found >= day:
                    break
                place = self._path(model, f"{directory}/{found.isoformat()}")
                for entry in self._mlflow.list(place):
                    # File by file: MLflow's S3 store deletes whatever begins with the path that it is given.
                    self._mlflow.delete(f"{place}/{entry.path}")
                    count += 1
        return count
