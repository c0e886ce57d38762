# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Clients' sets on their way to the cluster: one change at a time for each set, the newest wins."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from _workload import Result, Workload, WorkloadError
from _workload.base import Progress

from . import metrics

log = logging.getLogger(__name__)

PROGRESS_LINES = 20


@dataclass(frozen=True)
class Wanted:
    """What a set should be; no workloads at all with `remove`."""

    workloads: tuple[Workload, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    secret_values: Mapping[str, str] = field(default_factory=dict, repr=False)
    remove: bool = False


class Applies(Protocol):
    """The two verbs of the seam that are needed here."""

    def apply(
        self,
        set_name: str,
        workloads: Sequence[Workload | Mapping[str, Any]],
        *,
        images: Mapping[str, str],
        secret_values: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Result: ...

    def absent(self, set_name: str, *, progress: Progress | None = None) -> Result: ...


@dataclass
class Status:
    """How far the newest request for a set is. state: converging, removing, healthy, removed, failed."""

    set: str
    request: int
    state: str
    requested: str
    finished: str | None = None
    changed: bool | None = None
    reasons: list[str] = field(default_factory=list)
    workloads: dict[str, Any] = field(default_factory=dict)
    progress: list[str] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        return self.finished is not None


class Superseded(Exception):
    """A newer request for the same set has come."""


@dataclass
class _Lane:
    status: Status
    wanted: Wanted | None = None
    """The next request, until it begins."""
    running: bool = False


class Sets:
    """Applies what clients want, in threads of its own; `status` tells how far it is."""

    def __init__(
        self, backend: Callable[[], Applies], done: Callable[[], None] = lambda: None, at_once: int = 4
    ) -> None:
        self._backend = backend
        self._done = done
        self._lanes: dict[str, _Lane] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="set")
        self._requests = 0

    def want(self, name: str, wanted: Wanted) -> Status:
        """Takes a request; an older one for the same set that still runs is given up at its next step."""
        with self._lock:
            self._requests += 1
            status = Status(name, self._requests, "removing" if wanted.remove else "converging", _now())
            lane = self._lanes.setdefault(name, _Lane(status))
            lane.status, lane.wanted = status, wanted
            if not lane.running:
                lane.running = True
                self._threads.submit(self._run, name, lane)
            return status

    def status(self, name: str) -> Status | None:
        with self._lock:
            lane = self._lanes.get(name)
            return lane.status if lane else None

    def stop(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, name: str, lane: _Lane) -> None:
        while True:
            with self._lock:
                wanted, lane.wanted = lane.wanted, None
                status = lane.status
                if wanted is None:
                    lane.running = False
                    return
            begun = time.perf_counter()
            self._make_so(name, lane, wanted, status)
            metrics.APPLIES.labels(name, status.state).inc()
            metrics.APPLY_SECONDS.observe(time.perf_counter() - begun)
            self._done()

    def _make_so(self, name: str, lane: _Lane, wanted: Wanted, status: Status) -> None:
        def progress(line: str) -> None:
            if lane.wanted is not None:
                raise Superseded
            status.progress = [*status.progress, line][-PROGRESS_LINES:]

        try:
            backend = self._backend()
            if wanted.remove:
                result = backend.absent(name, progress=progress)
            else:
                result = backend.apply(
                    name,
                    wanted.workloads,
                    images=wanted.images,
                    secret_values=wanted.secret_values,
                    progress=progress,
                )
        except Superseded:
            self._finish(status, "failed", None, ["a newer request for this set took its place"])
        except WorkloadError as error:
            self._finish(status, "failed", error.result, [error.message, *error.problems])
        except Exception as error:  # Whatever it was, the client must learn of it and the lane must go on.
            log.exception("Applying the set %s failed", name)
            self._finish(status, "failed", None, [f"{type(error).__name__}: {error}"])
        else:
            self._finish(status, "removed" if wanted.remove else "healthy", result, [])

    @staticmethod
    def _finish(status: Status, state: str, result: Any, reasons: list[str]) -> None:
        if isinstance(result, Result):
            found = result.to_dict()
            status.changed, status.workloads = found["changed"], found["workloads"]
        status.reasons, status.state, status.finished = reasons, state, _now()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
