# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError, RequestError
from ansible_collections.mlops.onprem.plugins.module_utils._prefect import flow_runs
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.flow_runs import (
    FlowRuns,
    Patience,
    Unfinished,
    check_id,
    facts,
    problem,
)


def run(kind: str, **more: Any) -> dict[str, Any]:
    return {"id": "1", "name": "r", "state_type": kind.upper(), "state_name": kind.capitalize(), **more}


AWAY = RequestError("GET", "http://x", "Connection refused", unreachable=True)


class Server:
    """Answers in turn, the last one for ever; an exception is raised."""

    def __init__(self, *runs: Any, logs: tuple[Any, ...] = ([],), open_tasks: tuple[int, ...] = (0,)) -> None:
        self.answers: dict[str, list[Any]] = {"runs": [*runs], "logs": [*logs], "open": [*open_tasks]}
        self.asked = 0

    def _next(self, kind: str) -> Any:
        self.asked += 1
        answers = self.answers[kind]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(found, Exception):
            raise found
        return found

    def find_flow_run(self, identity: str) -> Any:
        return self._next("runs")

    def logs(self, identity: str, level: int, limit: int) -> Any:
        return self._next("logs")

    def count_task_runs(self, identity: str, states: list[str]) -> Any:
        return self._next("open")

    def find_work_pool(self, name: str) -> Any:
        return {"is_paused": False, "status": "NOT_READY"}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Sleeping is all that takes time."""
    passed = [0.0]
    monkeypatch.setattr(flow_runs.time, "monotonic", lambda: passed[0])
    monkeypatch.setattr(flow_runs.time, "sleep", lambda seconds: passed.__setitem__(0, passed[0] + seconds))
    return passed


def runs(server: Server) -> FlowRuns:
    return FlowRuns(server, check=False)  # type: ignore[arg-type]


def test_a_server_that_is_away_is_waited_for(clock: list[float]) -> None:
    server = Server(run("running"), AWAY, AWAY, run("completed"))
    assert runs(server).wait(facts(run("scheduled")), Patience(60, 2))["state"] == "completed"
    assert clock[0] == 8
    refused = RequestError("GET", "http://x", "Unauthorized", status=401)
    with pytest.raises(RequestError, match="Unauthorized"):
        runs(Server(refused)).wait(facts(run("running")), Patience(60, 2))


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (run("running"), "is Running after 5 s$"),
        (run("paused"), "it waits for someone to resume it"),
        (run("scheduled"), "its deployment has no work pool"),
        (run("scheduled", work_pool_name="p"), "its work pool p is not ready: is a worker of it running"),
        (None, "was removed while it was awaited"),
    ],
)
def test_a_wait_that_is_in_vain_says_why(clock: list[float], last: Any, message: str) -> None:
    with pytest.raises(Unfinished, match=message):
        runs(Server(last)).wait(facts(run("scheduled")), Patience(5, 2))
    assert clock[0] <= 5


LAST = {"id": 9, "message": "Finished in state Completed()", "task_run_id": None}


@pytest.mark.parametrize(
    ("server", "seconds"),
    [
        (Server(logs=([LAST],)), 0),
        (Server(logs=([], [], [LAST])), 1),
        (Server(logs=([LAST],), open_tasks=(2, 1, 0)), 1),
        (Server(logs=([{**LAST, "task_run_id": "t"}],)), flow_runs.QUIET),
        (Server(logs=([],)), flow_runs.QUIET),
        (Server(logs=tuple([{"id": number, "message": "news"}] for number in range(99))), flow_runs.SETTLED),
    ],
)
def test_what_comes_after_the_end_is_waited_for(clock: list[float], server: Server, seconds: float) -> None:
    ended = datetime.now(UTC).isoformat()
    runs(server).settle(facts(run("completed", end_time=ended, run_count=1)))
    assert clock[0] == seconds


@pytest.mark.parametrize(
    "ended",
    [
        run("running"),
        run("cancelled", run_count=0),
        run("completed", run_count=1, end_time="2026-01-01T00:00:00Z"),
    ],
)
def test_what_has_nothing_to_tell_is_not_waited_for(ended: dict[str, Any]) -> None:
    server = Server()
    runs(server).settle(facts(ended))
    assert server.asked == 0


@pytest.mark.parametrize(
    ("state", "tasks", "run_counts", "tasks_count", "message"),
    [
        ("completed", 0, True, True, ""),
        ("completed", 2, True, False, ""),
        ("completed", 2, True, True, "The flow run r of f/d ended Completed, but 2 of its task runs failed"),
        ("failed", 2, True, False, "The flow run r of f/d ended Failed: why"),
        ("crashed", 0, True, True, "The flow run r of f/d ended Crashed: why"),
        ("cancelled", 0, True, False, "The flow run r of f/d ended Cancelled: why"),
        ("failed", 0, False, True, ""),
        ("failed", 1, False, True, "The flow run r of f/d ended Failed, but 1 of its task runs failed"),
        ("running", 0, True, True, ""),
    ],
)
def test_what_is_good_enough(state: str, tasks: int, run_counts: bool, tasks_count: bool, message: str) -> None:
    one = facts(run(state, state={"message": "why"}), "f", "d")
    assert problem(one, tasks, run_counts=run_counts, tasks_count=tasks_count) == message


def test_ids() -> None:
    assert check_id("id", "01A225DF4DC87B3790C77C6013236DA9") == "01a225df-4dc8-7b37-90c7-7c6013236da9"
    with pytest.raises(InputError, match=r"^id: '../flows' is no id"):
        check_id("id", "../flows")
