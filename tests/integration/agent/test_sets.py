# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A client hands its set to the agent, from inside, on a real cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from stand import NAMESPACE, Stand, echo_workload, wait_for

ASK = """
import json, sys, urllib.error, urllib.request
method, path, token, body = json.loads(sys.argv[1])
request = urllib.request.Request("http://agent:8080" + path, method=method)
request.add_header("Authorization", "Bearer " + token)
try:
    answer = urllib.request.urlopen(request, body.encode() if body else None, timeout=10)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, answer.read().decode()]))
"""
SETTLED = ("healthy", "failed", "removed")


class Client:
    """A client of the agent: asks from inside another workload's container."""

    def __init__(self, stand: Stand, token: str) -> None:
        self._stand = stand
        self._token = token

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        words = json.dumps([method, path, self._token, "" if body is None else json.dumps(body)])
        code, output = self._stand.exec("echo", "python", "-c", ASK, words)
        assert code == 0, output
        status, text = json.loads(output)
        return status, json.loads(text)

    def put(self, *workloads: dict[str, Any]) -> tuple[int, Any]:
        return self.ask("PUT", "/v1/sets/models", {"workloads": list(workloads), "images": self._images()})

    def settled(self, seconds: float) -> Any:
        until = time.monotonic() + seconds
        while (found := self.ask("GET", "/v1/sets/models")[1]).get("state") not in SETTLED:
            assert time.monotonic() < until, f"not settled: {found}"
            time.sleep(0.2)
        return found

    def _images(self) -> dict[str, str]:
        return {"agent": self._stand.images["agent"]}


@pytest.fixture(autouse=True)
def echo(stand: Stand) -> None:
    stand.apply(echo_workload(connects=["agent"]))


@pytest.fixture
def client(stand: Stand) -> Iterator[Client]:
    client = Client(stand, "t" * 48)
    yield client
    client.ask("DELETE", "/v1/sets/models")
    assert client.settled(60)["state"] == "removed"


def model(**more: Any) -> dict[str, Any]:
    return echo_workload("model-a", 1, secrets=[{"name": "tester_password", "mode": "0440"}], **more)


def test_a_set_from_first_request_to_removal(stand: Stand, client: Client) -> None:
    status, answer = client.put(model())
    assert (status, answer["state"]) == (202, "converging"), answer
    begun = time.monotonic()
    found = client.settled(60)
    assert (found["state"], found["reasons"]) == ("healthy", [])
    print(f"BAR a set of one new workload is healthy {time.monotonic() - begun:.1f} s after the request")
    wait_for(lambda: stand.get(f"/seldon/{NAMESPACE}/model-a/x")[0] == 200, 10, "its route")
    assert stand.exec("model-a", "cat", "/run/secrets/tester_password") == (0, "p" * 20)

    status, answer = client.put(model())
    assert client.settled(30)["changed"] is False

    status, answer = client.ask("GET", "/v1/workloads")
    assert status == 200
    assert {"agent", "gateway", "echo", "model-a"} <= {item["name"] for item in answer["workloads"]}

    client.ask("DELETE", "/v1/sets/models")
    assert client.settled(60)["state"] == "removed"
    wait_for(lambda: stand.get(f"/seldon/{NAMESPACE}/model-a/x")[0] == 404, 10, "its route is gone")
    assert {item.set_name for item in stand.seam.observe()} == {"platform", "echo"}


def test_a_set_that_fails_says_why_and_the_next_request_puts_it_right(client: Client) -> None:
    crash = ["python", "-c", "raise SystemExit('no model in here')"]
    # Swarm may leave a second task in the slot where a service that crashes again and again is updated start-first.
    client.put(model(args=crash, update={"order": "stop-first"}))
    found = client.settled(90)
    assert found["state"] == "failed"
    assert "model-a" in found["reasons"][1]
    client.put(model(update={"order": "stop-first"}))
    assert client.settled(60)["state"] == "healthy"


def test_a_newer_request_does_not_wait_for_one_that_hangs(client: Client) -> None:
    client.put(model(env={"READY_AFTER": "1000"}))
    time.sleep(3)
    begun = time.monotonic()
    _, answer = client.put(model())
    wait_for(lambda: client.ask("GET", "/v1/sets/models")[1]["request"] == answer["request"], 5, "the newer request")
    assert client.settled(60)["state"] == "healthy"
    print(f"BAR a request in the place of one that hangs: healthy after {time.monotonic() - begun:.1f} s")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cluster_access": True}, "model-a.cluster_access"),
        ({"ports": [{"name": "http", "port": 9000, "published": 18090}]}, "model-a.ports.http.published"),
        ({"secrets": [{"name": "agent_tokens"}]}, "model-a.secrets: agent_tokens is not lent to tester"),
        ({"name": "gateway"}, "gateway.name: gateway belongs to the set platform"),
        ({"routes": [{"name": "r", "path": "/", "port": "http"}]}, "model-a.routes.r.path"),
    ],
)
def test_what_would_reach_further_is_refused(client: Client, change: dict[str, Any], reason: str) -> None:
    status, answer = client.put({**model(), **change})
    assert status == 422
    assert any(problem.startswith(reason) for problem in answer["problems"]), answer


def test_others_are_refused(stand: Stand) -> None:
    assert Client(stand, "x" * 48).ask("GET", "/v1/sets/models")[0] == 401
    operator = Client(stand, "o" * 48)
    assert operator.ask("GET", "/v1/sets/models")[0] == 403
    assert operator.ask("GET", "/v1/workloads")[0] == 200
    assert Client(stand, "t" * 48).ask("DELETE", "/v1/sets/platform")[0] == 403


def test_no_secret_is_in_what_the_cluster_shows(stand: Stand) -> None:
    text = stand.target.shown(NAMESPACE) + "\n".join(stand.seam.logs("agent", lines=10000))
    assert NAMESPACE in text
    assert not any(value in text for value in stand.secret_values.values())
