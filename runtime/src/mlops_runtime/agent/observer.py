# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Looks at the cluster: at once when it says that something has changed, and regularly for what it doesn't say."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from _workload import Observed

from . import metrics

log = logging.getLogger(__name__)

COALESCE_SECONDS = 0.05
HURRY_SECONDS = 2.0
"""For so long after an event the looks follow quickly: a task's new state arrives a moment after its container's."""
HURRY_INTERVAL = 0.25
RECONNECT_SECONDS = 1.0


class Sees(Protocol):
    """What is told of each look."""

    def see(self, observed: Sequence[Observed]) -> None: ...

    def fail(self, error: str) -> None: ...


class Observer:
    """Two threads: one waits for events, the other looks."""

    def __init__(
        self,
        observe: Callable[[], Sequence[Observed]],
        events: Callable[[], Iterator[object]],
        tell: Sees,
        resync_seconds: float,
    ) -> None:
        self._observe = observe
        self._events = events
        self._tell = tell
        self._resync = resync_seconds
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._hurry_until = 0.0
        self._error: str | None = None

    def start(self) -> None:
        for target, name in ((self._look, "observer"), (self._listen, "events")):
            threading.Thread(target=target, name=name, daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._wake.set()

    def hurry(self) -> None:
        """Something has changed, or is about to."""
        self._hurry_until = time.monotonic() + HURRY_SECONDS
        self._wake.set()

    def _look(self) -> None:
        while not self._stopped.is_set():
            self._look_once()
            hurried = time.monotonic() < self._hurry_until
            if self._wake.wait(min(self._resync, HURRY_INTERVAL) if hurried else self._resync):
                self._wake.clear()
                self._stopped.wait(COALESCE_SECONDS)

    def _look_once(self) -> None:
        begun = time.perf_counter()
        try:
            observed = self._observe()
        except Exception as error:  # The last known state must go on being told, whatever came in between.
            text = f"{type(error).__name__}: {error}"
            if text != self._error:
                log.warning("The cluster can't be seen: %s", text)
            self._error = text
            metrics.OBSERVATIONS.labels("failed").inc()
            self._tell.fail(text)
            return
        if self._error is not None:
            log.warning("The cluster is seen again")
        self._error = None
        metrics.OBSERVATIONS.labels("ok").inc()
        metrics.OBSERVATION_SECONDS.observe(time.perf_counter() - begun)
        self._tell.see(observed)

    def _listen(self) -> None:
        while not self._stopped.is_set():
            try:
                for _ in self._events():
                    if self._stopped.is_set():
                        return
                    self.hurry()
            except Exception as error:  # Whatever cut the stream: the looks go on, and so does the next try.
                log.info("The stream of events ended: %s", error)
            self._stopped.wait(RECONNECT_SECONDS)
