# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline server's client where the server is at fault; a real one is in the integration tests."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from mlops_runtime.lifecycle import pipelines
from mlops_runtime.lifecycle.pipelines import PipelinesError, Prefect

pytestmark = pytest.mark.asyncio
RUN = {"id": str(uuid.uuid4()), "name": "wise-owl", "state_type": "SCHEDULED"}
DEPLOYMENT = {
    "id": str(uuid.uuid4()),
    "parameter_openapi_schema": {"properties": {"model": {}, "rows": {}}},
}


class Server:
    """Answers by path; keeps what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
        self.answers = {"flow_runs/filter": [], "deployments/filter": [DEPLOYMENT], "create_flow_run": RUN, **answers}
        self.asked: list[tuple[str, Any]] = []
        monkeypatch.setattr(httpx, "AsyncHTTPTransport", lambda **_: httpx.MockTransport(self.answer))
        self.client = Prefect("http://prefect/api", "admin:hidden")

    def answer(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"].startswith("Basic ")
        path = request.url.path.removeprefix("/api/")
        self.asked.append((path, json.loads(request.content)))
        found = next(answer for name, answer in self.answers.items() if path.endswith(name))
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found)

    async def start(self) -> pipelines.Run:
        return await self.client.start("retrain-m", "key", {"model": "m", "version": "1"}, ["mlops.model:m"])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Server]:
    return lambda **answers: Server(monkeypatch, **{key.replace("__", "/"): value for key, value in answers.items()})


async def test_a_run_gets_the_parameters_that_its_flow_has(server: Callable[..., Server]) -> None:
    found = server()
    run = await found.start()
    assert (str(run.id), run.name, run.state, run.outcome) == (RUN["id"], "wise-owl", "scheduled", "")
    path, body = found.asked[-1]
    assert path == f"deployments/{DEPLOYMENT['id']}/create_flow_run"
    assert body == {"idempotency_key": "key", "parameters": {"model": "m"}, "tags": ["mlops.model:m"]}


async def test_a_run_that_is_there_is_not_started_again(server: Callable[..., Server]) -> None:
    found = server(flow_runs__filter=[RUN])
    assert str((await found.start()).id) == RUN["id"]
    assert [path for path, _ in found.asked] == ["flow_runs/filter"]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"deployments__filter": []}, "there is no deployment retrain-m"),
        ({"deployments__filter": [DEPLOYMENT, DEPLOYMENT]}, "several flows have a deployment retrain-m"),
        ({"flow_runs__filter": httpx.Response(401, text="Unauthorized")}, "401 Unauthorized; the user or password"),
        ({"create_flow_run": httpx.Response(422, text="no parameter model")}, "422 no parameter model"),
        ({"create_flow_run": httpx.Response(200, text="<html>")}, "no dict in the answer; is it Prefect's API"),
        ({"create_flow_run": {"name": "x"}}, "a flow run without its id"),
        ({"create_flow_run": httpx.ReadTimeout("")}, "ReadTimeout"),
        ({"flow_runs__filter": httpx.ConnectError("refused")}, "flow_runs/filter: refused"),
    ],
)
async def test_what_goes_wrong_is_said(server: Callable[..., Server], answers: dict[str, Any], message: str) -> None:
    found = server(**answers)
    with pytest.raises(PipelinesError, match=message) as raised:
        await found.start()
    assert "hidden" not in str(raised.value)
    asked = [path for path, _ in found.asked]
    assert len(asked) == len(set(asked))  # nothing was sent twice


async def test_a_run_of_which_a_task_failed_has_failed(
    server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "_QUIET_SECONDS", 0)
    ended = {**RUN, "state_type": "COMPLETED", "state": {"message": "All is well"}}
    found = server(flow_runs__filter=[ended], task_runs__count=2)
    identity = uuid.UUID(RUN["id"])
    assert (await found.client.runs([identity]))[identity].outcome == ""  # tasks are open
    found.answers["task_runs/count"] = 0
    assert (await found.client.runs([identity]))[identity].outcome == "completed"
    monkeypatch.setattr(found.client, "_tasks", lambda _run, states: _counted(3 if "FAILED" in states else 0))
    run = (await found.client.runs([identity]))[identity]
    assert (run.outcome, run.reason) == ("failed", "it ended Completed, but 3 of its task runs failed")


async def _counted(count: int) -> int:
    return count


async def test_a_run_that_crashed_says_why(server: Callable[..., Server]) -> None:
    identity = uuid.UUID(RUN["id"])
    found = server(flow_runs__filter=[{**RUN, "state_type": "CRASHED", "state": {"message": "out of memory"}}])
    run = (await found.client.runs([identity]))[identity]
    assert (run.outcome, run.reason) == ("crashed", "out of memory")
