# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from fakes import task, workload
from mlops_runtime.agent import state as module
from mlops_runtime.agent.readiness import Target, Verdict
from mlops_runtime.agent.settings import Settings
from mlops_runtime.agent.state import State

READY = {"path": "/health", "port": 5000, "headers": {}}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Verdict]:
    """What tasks answer, by address; whoever isn't named is ready."""
    table: dict[str, Verdict] = {}
    asked: list[Target] = []

    async def ask_all(targets: Iterable[Target], timeout: float) -> dict[Target, Verdict]:
        asked.extend(targets)
        return {target: table.get(target.address, Verdict.READY) for target in asked}

    monkeypatch.setattr(module, "ask_all", ask_all)
    return table


def servers(state: State, name: str) -> list[str]:
    assert state.body is not None
    document: dict[str, Any] = json.loads(state.body)
    balancer = document["http"]["services"][f"{name}_5000_http"]["loadBalancer"]
    return [server["url"] for server in balancer.get("servers", [])]


def seen(state: State, *observed: Any) -> State:
    state.see(observed)
    asyncio.run(state.refresh())
    return state


def test_nothing_is_told_before_the_first_look() -> None:
    state = State(Settings())
    asyncio.run(state.refresh())
    assert state.body is None
    state.fail("no engine")
    assert (state.body, state.error, state.age) == (None, "no engine", None)


def test_healthy_tasks_in_the_edge_zone_are_told() -> None:
    tasks = [task(1, address="10.0.0.1"), task(2, address="10.0.0.2", healthy=False), task(3, address=None)]
    state = seen(State(Settings()), workload("mlflow", *tasks), workload("postgresql", task(9), routes=[]))
    assert servers(state, "mlflow") == ["http://10.0.0.1:5000"]
    assert b"postgresql" not in (state.body or b"")


def test_a_new_task_waits_until_it_is_ready_once(answers: dict[str, Verdict]) -> None:
    state = State(Settings())
    first, second = task(1, address="10.0.0.1"), task(2, address="10.0.0.2")
    answers["10.0.0.2"] = Verdict.NOT_READY
    seen(state, workload("m", first, second, readiness=READY))
    assert servers(state, "m") == ["http://10.0.0.1:5000"]
    answers["10.0.0.2"] = Verdict.READY
    asyncio.run(state.refresh())
    assert servers(state, "m") == ["http://10.0.0.1:5000", "http://10.0.0.2:5000"]
    answers["10.0.0.2"] = Verdict.NOT_READY  # From here on it is the gateway's own check that counts.
    asyncio.run(state.refresh())
    assert len(servers(state, "m")) == 2


def test_none_ready_means_none_but_those_that_say_nothing(answers: dict[str, Verdict]) -> None:
    answers |= {"10.0.0.1": Verdict.NOT_READY, "10.0.0.2": Verdict.SILENT}
    tasks = [task(1, address="10.0.0.1"), task(2, address="10.0.0.2")]
    state = seen(State(Settings()), workload("m", *tasks, readiness=READY))
    assert servers(state, "m") == ["http://10.0.0.2:5000"]
    answers["10.0.0.1"] = Verdict.READY
    asyncio.run(state.refresh())
    assert servers(state, "m") == ["http://10.0.0.1:5000"]


def test_a_dead_task_is_out_before_new_ones_are_asked(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, Verdict]
) -> None:
    state = seen(
        State(Settings()), workload("m", task(1, address="10.0.0.1"), task(2, address="10.0.0.2"), readiness=READY)
    )
    bodies = []

    async def slow(targets: Iterable[Target], timeout: float) -> dict[Target, Verdict]:
        bodies.append(servers(state, "m"))
        return dict.fromkeys(targets, Verdict.READY)

    monkeypatch.setattr(module, "ask_all", slow)
    seen(state, workload("m", task(1, address="10.0.0.1"), task(3, address="10.0.0.3"), readiness=READY))
    assert bodies == [["http://10.0.0.1:5000"]]
    assert servers(state, "m") == ["http://10.0.0.1:5000", "http://10.0.0.3:5000"]


def test_the_last_one_goes_and_its_successor_has_not_been_asked_yet(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, Verdict]
) -> None:
    state = seen(State(Settings()), workload("m", task(1, address="10.0.0.1"), readiness=READY))
    bodies = []

    async def slow(targets: Iterable[Target], timeout: float) -> dict[Target, Verdict]:
        bodies.append(servers(state, "m"))
        return dict.fromkeys(targets, Verdict.NOT_READY)

    monkeypatch.setattr(module, "ask_all", slow)
    seen(state, workload("m", task(1, healthy=False), task(2, address="10.0.0.2"), readiness=READY))
    assert bodies == [["http://10.0.0.2:5000"]], "somebody is better than nobody"
    assert servers(state, "m") == []


def test_the_last_known_state_stays_when_looking_fails() -> None:
    state = seen(State(Settings()), workload("m", task(1)))
    body, etag = state.body, state.etag
    state.fail("gone")
    asyncio.run(state.refresh())
    assert (state.body, state.etag, state.error) == (body, etag, "gone")
    seen(state, workload("m", task(1)))
    assert (state.etag, state.error) == (etag, None)


def test_a_workload_without_tasks_keeps_its_route() -> None:
    state = seen(State(Settings()), workload("m"))
    assert servers(state, "m") == []
    assert b"Host(`m.localhost`)" in (state.body or b"")


def test_the_domains_own_routes_answer_to_its_other_names() -> None:
    route = {**workload("m").routes[0], "host": "localhost", "path": "/seldon/mlops/m"}
    state = seen(State(Settings(domain_aliases=("gateway",))), workload("m", task(1), routes=[route]))
    assert b"(Host(`localhost`) || Host(`gateway`)) && (Path(`/seldon/mlops/m`)" in (state.body or b"")


def test_following_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASK_AGAIN_SECONDS", 0.01)

    async def run() -> State:
        state = State(Settings())
        follower = asyncio.create_task(state.follow())
        state.see([workload("m", task(1), routes=[{"name": "broken"}])])
        await asyncio.sleep(0.05)
        state.see([workload("m", task(1))])
        await asyncio.sleep(0.05)
        follower.cancel()
        return state

    assert len(servers(asyncio.run(run()), "m")) == 1
