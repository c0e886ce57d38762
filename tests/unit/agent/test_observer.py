# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import queue
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mlops_runtime.agent.observer import Observer


class Log:
    def __init__(self) -> None:
        self.told: queue.Queue[Any] = queue.Queue()

    def see(self, observed: Sequence[Any]) -> None:
        self.told.put(list(observed))

    def fail(self, error: str) -> None:
        self.told.put(error)


def test_an_event_brings_a_look_at_once() -> None:
    log, events = Log(), queue.Queue[object]()
    observer = Observer(lambda: [], lambda: iter(events.get, None), log, 60)
    observer.start()
    try:
        log.told.get(timeout=2)
        time.sleep(0.1)
        begun = time.monotonic()
        events.put("die")
        assert log.told.get(timeout=2) == []
        assert time.monotonic() - begun < 0.5
        # A task's state follows its container's: more looks come soon.
        assert log.told.get(timeout=2) == []
    finally:
        observer.stop()


def test_without_events_it_looks_regularly_and_failures_do_not_end_it() -> None:
    log = Log()
    looks = iter([["a"], RuntimeError("no leader"), ["b"]])

    def observe() -> Any:
        found = next(looks, [])
        if isinstance(found, Exception):
            raise found
        return found

    def broken() -> Iterator[object]:
        raise ConnectionError("gone")

    observer = Observer(observe, broken, log, 0.05)
    observer.start()
    try:
        assert [log.told.get(timeout=2) for _ in range(3)] == [["a"], "RuntimeError: no leader", ["b"]]
    finally:
        observer.stop()
