# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from _workload import Workload, WorkloadError
from _workload.base import Outcome, Progress, Result
from mlops_runtime.agent.sets import Sets, Status, Wanted


class Backend:
    def __init__(self, apply: Callable[[str, Sequence[Any], Progress], Result]) -> None:
        self._apply = apply
        self.removed: list[str] = []

    def apply(
        self,
        set_name: str,
        workloads: Sequence[Workload | Mapping[str, Any]],
        *,
        images: Mapping[str, str],
        secret_values: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Result:
        assert progress is not None
        return self._apply(set_name, workloads, progress)

    def absent(self, set_name: str, *, progress: Progress | None = None) -> Result:
        self.removed.append(set_name)
        return Result(changed=True)


def settled(sets: Sets, name: str, request: int) -> Status:
    for _ in range(200):
        status = sets.status(name)
        if status is not None and status.request == request and status.settled:
            return status
        time.sleep(0.01)
    raise AssertionError(f"not settled: {status}")


def test_a_set_becomes_healthy() -> None:
    done = threading.Event()

    def apply(name: str, workloads: Sequence[Any], progress: Progress) -> Result:
        progress("started")
        return Result(changed=True, workloads={"m": Outcome("healthy", True, ["new"])})

    sets = Sets(lambda: Backend(apply), done.set)
    status = sets.want("models", Wanted())
    assert status.state == "converging" or status.settled
    status = settled(sets, "models", status.request)
    assert (status.state, status.changed, status.progress) == ("healthy", True, ["started"])
    assert status.workloads["m"]["why"] == ["new"]
    assert done.wait(1)
    sets.stop()


def test_failures_say_why() -> None:
    def apply(name: str, workloads: Sequence[Any], progress: Progress) -> Result:
        if name == "models":
            raise WorkloadError("2 failed", problems=["a: exit 1"], result=Result(workloads={"a": Outcome("failed")}))
        raise KeyError("surprise")

    sets = Sets(lambda: Backend(apply))
    status = settled(sets, "models", sets.want("models", Wanted()).request)
    assert (status.state, status.reasons) == ("failed", ["2 failed", "a: exit 1"])
    assert status.workloads["a"]["status"] == "failed"
    status = settled(sets, "runs", sets.want("runs", Wanted()).request)
    assert (status.state, status.reasons) == ("failed", ["KeyError: 'surprise'"])
    sets.stop()


def test_the_newest_request_wins_and_no_two_run_at_once_for_a_set() -> None:
    begun, running, most = threading.Event(), 0, 0
    applied = []

    def apply(name: str, workloads: Sequence[Any], progress: Progress) -> Result:
        nonlocal running, most
        running += 1
        most = max(most, running)
        applied.append(workloads)
        try:
            begun.set()
            if workloads[0] == "first":
                for _ in range(200):
                    time.sleep(0.01)
                    progress("still waiting")
            return Result()
        finally:
            running -= 1

    sets = Sets(lambda: Backend(apply))
    first: Any = sets.want("models", Wanted(workloads=("first",)))  # type: ignore[arg-type]
    assert begun.wait(2)
    sets.want("models", Wanted(workloads=("second",)))  # type: ignore[arg-type]
    third = sets.want("models", Wanted(workloads=("third",)))  # type: ignore[arg-type]
    assert settled(sets, "models", third.request).state == "healthy"
    assert (first.state, first.reasons) == ("failed", ["a newer request for this set took its place"])
    assert applied == [("first",), ("third",)]
    assert most == 1
    sets.stop()


def test_sets_do_not_wait_for_each_other() -> None:
    both = threading.Barrier(2, timeout=2)

    def apply(name: str, workloads: Sequence[Any], progress: Progress) -> Result:
        both.wait()
        return Result()

    sets = Sets(lambda: Backend(apply))
    requests = {name: sets.want(name, Wanted()).request for name in ("a", "b")}
    assert [settled(sets, name, request).state for name, request in requests.items()] == ["healthy", "healthy"]
    sets.stop()


def test_a_set_is_removed() -> None:
    backend = Backend(lambda *_: Result())
    sets = Sets(lambda: backend)
    status = settled(sets, "models", sets.want("models", Wanted(remove=True)).request)
    assert (status.state, status.changed, backend.removed) == ("removed", True, ["models"])
    sets.stop()


def test_secret_values_are_not_shown() -> None:
    assert "hidden" not in repr(Wanted(secret_values={"password": "hidden"}))
