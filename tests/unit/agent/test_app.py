# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from _workload import Workload
from _workload.base import Observed, Outcome, Progress, Result
from fakes import task, workload
from mlops_runtime.agent.app import BODY_LIMIT, Agent
from mlops_runtime.agent.clients import Clients
from mlops_runtime.agent.settings import Settings
from starlette.testclient import TestClient

TOKEN = "the-token-of-the-lifecycle-controller"
AUTH = {"authorization": f"Bearer {TOKEN}"}
IMAGES = {"model": "127.0.0.1:5000/model@sha256:" + "a" * 64}
MODEL: dict[str, Any] = {
    "name": "model-a",
    "image": "model",
    "secrets": [{"name": "mlflow_serving_password"}],
    "resources": {"limits": {"cpu": 1, "memory": "512Mi"}},
    "zone": "models",
}


class Cluster:
    """Stands in for the cluster: what it shows, and what was asked of it."""

    def __init__(self) -> None:
        self.shown: list[Observed] | Exception = [workload("mlflow", task(1))]
        self.applied: list[tuple[str, Any, Any, Any]] = []
        self.removed: list[str] = []
        self.changed = threading.Event()

    def observe(self) -> list[Observed]:
        if isinstance(self.shown, Exception):
            raise self.shown
        return self.shown

    def events(self) -> Iterator[object]:
        while self.changed.wait():
            self.changed.clear()
            yield None

    def show(self, shown: list[Observed] | Exception) -> None:
        self.shown = shown
        self.changed.set()

    def apply(
        self,
        set_name: str,
        workloads: Sequence[Workload | Mapping[str, Any]],
        *,
        images: Mapping[str, str],
        secret_values: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Result:
        self.applied.append((set_name, workloads, images, secret_values))
        return Result(changed=True, workloads={"model-a": Outcome("healthy", True, ["new"])})

    def absent(self, set_name: str, *, progress: Progress | None = None) -> Result:
        self.removed.append(set_name)
        return Result(changed=True)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def client(cluster: Cluster, tmp_path: Path) -> Iterator[TestClient]:
    tokens, secrets = tmp_path / "tokens", tmp_path / "secrets"
    rights = {"token": TOKEN, "sets": ["models"], "secrets": ["mlflow_serving_password"]}
    tokens.write_text(json.dumps({"lifecycle": rights}))
    secrets.mkdir()
    (secrets / "mlflow_serving_password").write_text("hidden-value")
    settings = Settings(registry="127.0.0.1:5000", secrets_dir=secrets, tokens_file=tokens)
    agent = Agent(settings, Clients.read(tokens), lambda: cluster, cluster.observe, cluster.events)
    with TestClient(agent.app()) as client:
        yield client


def eventually(client: TestClient, path: str, holds: Any, **options: Any) -> Any:
    for _ in range(200):
        answer = client.get(path, **options)
        if holds(answer):
            return answer
        time.sleep(0.01)
    raise AssertionError(f"{path}: {answer.status_code} {answer.text}")


def ok(answer: Any) -> bool:
    return bool(answer.status_code == 200)


def test_the_gateway_gets_its_routes_and_hears_when_nothing_has_changed(client: TestClient) -> None:
    answer = eventually(client, "/v1/traefik", ok)
    assert answer.json()["http"]["routers"]["mlflow_ui"]["rule"] == "Host(`mlflow.localhost`)"
    again = client.get("/v1/traefik", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_before_the_first_look_there_is_no_answer_rather_than_an_empty_one(cluster: Cluster, tmp_path: Path) -> None:
    cluster.shown = ConnectionError("no engine")
    agent = Agent(Settings(), Clients(()), lambda: cluster, cluster.observe, cluster.events)
    with TestClient(agent.app()) as client:
        eventually(client, "/healthz", lambda answer: answer.json()["error"])
        assert client.get("/v1/prometheus").status_code == 503
        for path in ("/v1/traefik", "/readyz"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert "no engine" in answer.json()["error"]
        assert client.get("/healthz").json()["status"] == "starting"
        cluster.show([])
        assert "routers" not in eventually(client, "/v1/traefik", ok).json()["http"]


def test_prometheus_gets_its_targets_by_set(client: TestClient, cluster: Cluster) -> None:
    scraped = {"port": 6000, "path": "/metrics"}
    cluster.show([workload(name, task(1), set_name=name, metrics=scraped) for name in ("platform", "models", "site")])
    eventually(client, "/v1/prometheus", lambda answer: len(answer.json()) == 3)

    def sets(query: str) -> list[str]:
        answer = client.get(f"/v1/prometheus{query}")
        # Prometheus takes nothing else.
        assert answer.headers["content-type"] == "application/json"
        return [group["labels"]["set"] for group in answer.json()]

    assert sets("") == ["models", "platform", "site"]
    assert sets("?set=platform") == ["platform"]
    assert sets("?except=platform") == ["models", "site"]


def test_without_the_engine_the_last_known_state_is_told_and_said_to_be_old(
    client: TestClient, cluster: Cluster
) -> None:
    before = eventually(client, "/v1/traefik", ok)
    assert client.get("/healthz").json()["status"] == "ok"
    cluster.show(ConnectionError("engine is gone"))
    health = eventually(client, "/healthz", lambda answer: answer.json()["status"] == "stale")
    assert health.status_code == 200
    assert "engine is gone" in health.json()["error"]
    assert client.get("/v1/traefik").content == before.content
    assert client.get("/readyz").status_code == 200


def test_a_dead_task_is_gone_within_a_second(client: TestClient, cluster: Cluster) -> None:
    took = []
    while len(took) < 5 and not any(seconds < 1 for seconds in took):  # the machine is shared
        cluster.show([workload("m", task(1, address="10.0.0.1"), task(2, address="10.0.0.2"))])
        eventually(client, "/v1/traefik", lambda answer: b"10.0.0.2" in answer.content)
        begun = time.monotonic()
        cluster.show([workload("m", task(1, address="10.0.0.1"))])
        eventually(client, "/v1/traefik", lambda answer: b"10.0.0.2" not in answer.content)
        took.append(time.monotonic() - begun)
    assert min(took) < 1


def test_a_poll_is_answered_in_a_millisecond_or_so(client: TestClient) -> None:
    eventually(client, "/v1/traefik", ok)
    took = []
    for _ in range(50):
        begun = time.perf_counter()
        client.get("/v1/traefik")
        took.append(time.perf_counter() - begun)
    assert sorted(took)[25] < 0.02  # Most of it is the test's own client.


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_sets_need_a_token_and_belong_to_their_client(client: TestClient, method: str) -> None:
    assert client.request(method, "/v1/sets/models").status_code == 401
    wrong = client.request(method, "/v1/sets/models", headers={"authorization": "Bearer wrong"})
    assert (wrong.status_code, wrong.headers["www-authenticate"]) == (401, "Bearer")
    other = client.request(method, "/v1/sets/platform", headers=AUTH)
    assert (other.status_code, other.json()["error"]) == (403, "the set platform is not lifecycle's")


def test_a_set_is_applied_with_the_values_of_its_secrets(client: TestClient, cluster: Cluster) -> None:
    eventually(client, "/readyz", ok)
    answer = client.put("/v1/sets/models", headers=AUTH, json={"workloads": [MODEL], "images": IMAGES})
    assert (answer.status_code, answer.headers["location"]) == (202, "/v1/sets/models")
    status = eventually(client, "/v1/sets/models", lambda got: got.json()["state"] == "healthy", headers=AUTH).json()
    assert status["workloads"]["model-a"]["status"] == "healthy"
    [(name, workloads, images, values)] = cluster.applied
    assert (name, workloads[0].name, images) == ("models", "model-a", IMAGES)
    assert values == {"mlflow_serving_password": "hidden-value"}
    assert "hidden-value" not in json.dumps(status)


def test_what_happens_later_is_seen_in_the_status(client: TestClient, cluster: Cluster) -> None:
    eventually(client, "/readyz", ok)
    assert client.get("/v1/sets/models", headers=AUTH).status_code == 404
    cluster.show([workload("model-a", task(1, healthy=False), set_name="models", status="starting")])
    status = eventually(client, "/v1/sets/models", ok, headers=AUTH).json()
    assert (status["state"], status["reasons"]) == ("converging", ["model-a: starting, 0 of 1 healthy"])
    cluster.show([workload("model-a", task(1), set_name="models")])
    eventually(client, "/v1/sets/models", lambda answer: answer.json()["state"] == "healthy", headers=AUTH)


def test_a_set_is_removed(client: TestClient, cluster: Cluster) -> None:
    assert client.delete("/v1/sets/models", headers=AUTH).status_code == 202
    eventually(client, "/v1/sets/models", lambda answer: answer.json()["state"] == "removed", headers=AUTH)
    assert cluster.removed == ["models"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", 400),
        (b"[" * 100000, 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"workloads": {}}', 422),
        (b'{"workloads": [], "images": []}', 422),
        (b'{"workloads": [], "more": 1}', 422),
        (json.dumps({"workloads": [{**MODEL, "replica": 2}], "images": IMAGES}).encode(), 422),
        (json.dumps({"workloads": [{**MODEL, "cluster_access": True}], "images": IMAGES}).encode(), 422),
        (json.dumps({"workloads": [MODEL], "images": {"model": "docker.io/x:latest"}}).encode(), 422),
        (json.dumps({"workloads": [{**MODEL, "name": "mlflow"}], "images": IMAGES}).encode(), 422),
        (b"x" * (BODY_LIMIT + 1), 413),
    ],
)
def test_a_bad_request_is_refused_with_its_reasons(
    client: TestClient, cluster: Cluster, body: bytes, code: int
) -> None:
    eventually(client, "/readyz", ok)
    answer = client.put("/v1/sets/models", headers=AUTH, content=body)
    assert answer.status_code == code
    assert answer.json()["error"]
    assert not cluster.applied


def test_a_secret_that_is_lent_but_not_there_is_named(client: TestClient, tmp_path: Path) -> None:
    eventually(client, "/readyz", ok)
    (tmp_path / "secrets" / "mlflow_serving_password").unlink()
    answer = client.put("/v1/sets/models", headers=AUTH, json={"workloads": [MODEL], "images": IMAGES})
    assert answer.json()["problems"] == ["secrets: mlflow_serving_password isn't there"]


def test_what_runs_where(client: TestClient) -> None:
    assert client.get("/v1/workloads").status_code == 401
    eventually(client, "/readyz", ok)
    found = client.get("/v1/workloads", headers=AUTH).json()
    assert [(item["name"], item["healthy"]) for item in found["workloads"]] == [("mlflow", True)]


def test_metrics(client: TestClient) -> None:
    eventually(client, "/v1/traefik", ok)
    text = client.get("/metrics").text
    assert 'mlops_agent_requests_total{code="200",endpoint="traefik"}' in text
    assert 'mlops_agent_tasks{set="platform",workload="mlflow"} 1.0' in text


def test_tokens_are_in_no_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client.put("/v1/sets/models", headers=AUTH, content=b"{")
    client.put("/v1/sets/models", headers={"authorization": f"Bearer {TOKEN}x"}, content=b"{")
    assert TOKEN not in caplog.text
