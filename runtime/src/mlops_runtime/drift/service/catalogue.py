# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Which models are watched, in which versions, by which artefacts: the newest answer of wherever that is kept.

A thread of its own asks; the loop that scores reads the answer and never waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from mlops_runtime.drift.artefact import Artefact, load
from mlops_runtime.drift.stream import Standing
from mlops_runtime.drift.watcher import Watcher

log = logging.getLogger(__name__)

RETIRED_SECONDS: Final = 600.0
"""A version that no alias names any more is watched for so long: its last requests are still on their way."""
_UNKNOWN_SECONDS: Final = 30.0
_UNKNOWN_KEPT: Final = 1000


@dataclass(frozen=True)
class Versions:
    """What a source knows of a model. `default`: the version that records without one are of."""

    versions: Mapping[str, Artefact | Standing]
    default: str = ""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Why a version isn't watched."""


class Source(Protocol):
    """Where models are kept."""

    def read(self) -> Mapping[str, Versions]:
        """All models that ask to be watched. Raises SourceError, and then the answer before holds."""
        ...


class SourceError(Exception):
    """The source didn't answer; the message says why."""


def usable(directory: Path, model: str, sha256: str = "") -> Artefact:
    """An artefact whose detectors can be loaded here. Raises ValueError."""
    found = load(directory, model=model, sha256=sha256)
    Watcher(found)
    return found


class Catalogue:
    """The newest answer of a source; safe to use from several threads."""

    def __init__(self, source: Source, seconds: float) -> None:
        self._source = source
        self._seconds = seconds
        self._wake = threading.Event()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="catalogue", daemon=True)
        self._models: Mapping[str, Versions] = {}
        self._retired: dict[tuple[str, str], tuple[float, Artefact | Standing]] = {}
        self._unknown: dict[tuple[str, str], float] = {}
        self._asked_at = -1.0
        """When the newest answer was asked for, seconds since the epoch."""
        self.generation = 0
        """Counts answers that differ from the one before."""
        self.problem = "it hasn't been asked yet"
        """Why there is no newer answer; empty where there is one."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()

    def wait(self, generation: int, seconds: float) -> None:
        """Until there is another answer than that of `generation`, or for so long."""
        with self._changed:
            self._changed.wait_for(lambda: self.generation != generation, seconds)

    @property
    def models(self) -> Mapping[str, Versions]:
        return self._models

    def known(self) -> bool:
        """Whether there was an answer at all."""
        return self._asked_at >= 0

    def names(self, model: str, version: str) -> bool:
        """Whether the registry still asks for that version to be watched; true before it has said anything."""
        known = self._models.get(model)
        return version in known.versions if known else not self.known()

    def of(self, model: str) -> ModelVersions:
        return ModelVersions(self, model)

    def find(self, model: str, version: str | None, made: float) -> tuple[str, Artefact | Standing]:
        """See `stream.Versions`."""
        known = self._models.get(model)
        if known is None and not self.known():
            return version or "", Standing.PENDING
        name = (known.default if known else "") if version is None else version
        found = known.versions.get(name) if known else None
        if found is None and (model, name) in self._retired:
            found = self._retired[model, name][1]
        if found is None:
            found = self._missing((model, name), made)
        if found is Standing.PENDING:
            self._wake.set()
        return name, found

    def _missing(self, key: tuple[str, str], made: float) -> Standing:
        now = time.monotonic()
        if made <= self._asked_at or self._unknown.get(key, -_UNKNOWN_SECONDS) > now - _UNKNOWN_SECONDS:
            if len(self._unknown) >= _UNKNOWN_KEPT:
                self._unknown.clear()
            self._unknown.setdefault(key, now)
            return Standing.UNKNOWN
        return Standing.PENDING

    def ask(self) -> None:
        """Read the source once."""
        asked_at = time.time()
        try:
            models = self._source.read()
        except SourceError as error:
            if str(error) != self.problem:
                log.warning("The models can't be read: %s", error)
            self.problem = str(error)
            return
        expired = self._retire(models)
        # A clock that went back would make answers older than they are.
        changed = expired or _signature(models) != _signature(self._models) or not self.known()
        self._models, self._asked_at, self.problem = models, asked_at, ""
        self._unknown = {key: at for key, at in self._unknown.items() if at > time.monotonic() - _UNKNOWN_SECONDS}
        if changed:
            with self._changed:
                self.generation += 1
                self._changed.notify_all()
            for model, known in models.items():
                for version, problem in known.problems.items():
                    log.warning("Model %s version %s isn't watched: %s", model, version, problem)

    def _retire(self, models: Mapping[str, Versions]) -> bool:
        """Versions that lost their alias stay for a while. Whether one's while is over, so that it may be forgotten."""
        now = time.monotonic()
        retired = {key: item for key, item in self._retired.items() if item[0] > now - RETIRED_SECONDS}
        expired = len(retired) < len(self._retired)
        for model, known in self._models.items():
            for version, found in known.versions.items():
                if model in models and version not in models[model].versions:
                    retired.setdefault((model, version), (now, found))
        self._retired = retired
        return expired

    def _follow(self) -> None:
        while not self._stop.is_set():
            self.ask()
            if self._wake.wait(self._seconds):
                # Somebody waits for an answer; still, the source is asked ten times a second at most.
                self._stop.wait(min(self._seconds, 0.1 if not self.problem else 1.0))
                self._wake.clear()


@dataclass(frozen=True)
class ModelVersions:
    """One model's part, as its streams ask for it."""

    catalogue: Catalogue
    model: str

    def find(self, version: str | None, made: float = float("-inf")) -> tuple[str, Artefact | Standing]:
        return self.catalogue.find(self.model, version, made)


def _signature(models: Mapping[str, Versions]) -> object:
    return {
        model: (
            known.default,
            dict(known.problems),
            {name: found.sha256 if isinstance(found, Artefact) else found for name, found in known.versions.items()},
        )
        for model, known in models.items()
    }
