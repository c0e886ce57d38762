# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Clients' runs: jobs that are started, looked at and removed. The cluster alone remembers them."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from _workload import LogLine, Run, Workload

from . import metrics

log = logging.getLogger(__name__)
T = TypeVar("T")

THREADS = 4
FRESH_SECONDS = 0.3
"""For so long one look serves all who ask."""
UNCOLLECTED = 10
"""So many times as many runs as may go on at once may wait to be collected."""
STATES = ("waiting", "starting", "running", "succeeded", "failed", "lost")
COLLECT_SECONDS = 60.0


class TooMany(Exception):
    """The client has as many runs as it may."""


class HasRuns(Protocol):
    """The verbs of the seam that are needed here."""

    def start(
        self,
        set_name: str,
        workload: Workload,
        *,
        images: Mapping[str, str],
        secret_values: Mapping[str, str] | None = None,
    ) -> None: ...

    def runs(self, set_name: str) -> list[Run]: ...

    def run_log(self, set_name: str, name: str, *, since: str = "", lines: int = 200) -> list[LogLine]: ...

    def remove_run(self, set_name: str, name: str) -> bool: ...


def set_of(client: str) -> str:
    """The set of a client's runs. No set that a client may name has a dot in its name."""
    return f"runs.{client}"


class Runs:
    """Works in threads of its own: whoever applies sets waits for no run, nor a run for them."""

    def __init__(self, backend: Callable[[], HasRuns], most: int, keep_seconds: float) -> None:
        self._backend = backend
        self._most = most
        self._keep = keep_seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="run")
        self._own = threading.local()
        self._guard = threading.Lock()
        self._changing: dict[str, threading.Lock] = {}
        """One start or removal at a time for each client: its runs share secrets, which go with the last of them."""
        self._looking: dict[str, asyncio.Lock] = {}
        self._seen: dict[str, tuple[float, list[Run]]] = {}

    def stop(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def start(
        self, client: str, workload: Workload, images: Mapping[str, str], secret_values: Mapping[str, str]
    ) -> tuple[Run, bool]:
        """The run, and whether it is new. Raises TooMany, WorkloadError."""

        def work(backend: HasRuns) -> tuple[Run, bool]:
            with self._lock(client):
                found = {run.name: run for run in backend.runs(set_of(client))}
                if workload.name in found:
                    return found[workload.name], False
                going = sum(not run.ended for run in found.values())
                if going >= self._most or len(found) >= UNCOLLECTED * self._most:
                    raise TooMany(f"{going} runs go on and {len(found) - going} wait to be collected")
                backend.start(set_of(client), workload, images=images, secret_values=secret_values)
                started = [run for run in backend.runs(set_of(client)) if run.name == workload.name]
            metrics.RUNS_STARTED.labels(client).inc()
            waiting = Run(workload.name, set_of(client), "waiting", datetime.now(UTC).isoformat())
            return (started or [waiting])[0], True

        return await self._changed(client, work)

    async def all(self, client: str) -> list[Run]:
        """All that the client has, by name. Raises WorkloadError."""
        async with self._looking.setdefault(client, asyncio.Lock()):
            at, runs = self._seen.get(client, (0.0, []))
            if time.monotonic() - at > FRESH_SECONDS:
                asked = time.monotonic()
                runs = await self._in_thread(lambda backend: backend.runs(set_of(client)))
                self._seen[client] = (asked, runs)
                counts = Counter(run.state for run in runs)
                for state in STATES:
                    metrics.RUNS.labels(client, state).set(counts[state])
        return runs

    async def find(self, client: str, name: str) -> Run | None:
        return next((run for run in await self.all(client) if run.name == name), None)

    async def log(self, client: str, name: str, since: str, lines: int) -> list[LogLine]:
        return await self._in_thread(lambda backend: backend.run_log(set_of(client), name, since=since, lines=lines))

    async def remove(self, client: str, name: str) -> bool:
        def work(backend: HasRuns) -> bool:
            with self._lock(client):
                return backend.remove_run(set_of(client), name)

        return await self._changed(client, work)

    async def collect(self, clients: Iterable[str]) -> None:
        """Takes away what ended long ago and nobody has collected, for ever."""
        names = list(clients)
        while names:
            for client in names:
                try:
                    for run in await self.all(client):
                        if run.ended and _age(run) > self._keep:
                            log.info("Nobody has collected the run %s of %s", run.name, client)
                            await self.remove(client, run.name)
                except Exception as error:  # The next round is another try.
                    log.warning("The runs of %s can't be looked at: %s", client, error)
            await asyncio.sleep(COLLECT_SECONDS)

    def _lock(self, client: str) -> threading.Lock:
        with self._guard:
            return self._changing.setdefault(client, threading.Lock())

    async def _changed(self, client: str, work: Callable[[HasRuns], T]) -> T:
        try:
            return await self._in_thread(work)
        finally:
            self._seen.pop(client, None)

    async def _in_thread(self, work: Callable[[HasRuns], T]) -> T:
        def call() -> T:
            backend: HasRuns | None = getattr(self._own, "backend", None)
            if backend is None:
                backend = self._own.backend = self._backend()
            try:
                return work(backend)
            except TooMany:
                raise
            except Exception:
                self._own.backend = None  # its connection may be what failed
                raise

        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def _age(run: Run) -> float:
    """Seconds since it has ended, by this machine's clock."""
    try:
        then = datetime.fromisoformat(run.since or run.created)
    except ValueError:
        return 0.0
    return (datetime.now(UTC) - then).total_seconds()
