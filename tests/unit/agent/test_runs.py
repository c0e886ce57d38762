# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs: who may start which, how many, what is told of them, and who takes them away in the end."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from _workload import LogLine, Observed, Run, Workload, WorkloadError
from _workload.engine import EngineError
from fakes import task, workload
from mlops_runtime.agent.app import Agent
from mlops_runtime.agent.clients import Clients
from mlops_runtime.agent.settings import Settings
from prometheus_client import generate_latest
from starlette.testclient import TestClient

TOKEN, OTHER = "the-token-of-the-pipelines-worker", "the-token-of-somebody-else"
IMAGES = {"pipelines": "127.0.0.1:5000/pipelines@sha256:" + "a" * 64}
RUN: dict[str, Any] = {
    "name": "run-1",
    "kind": "job",
    "image": "pipelines",
    "secrets": [{"name": "prefect_auth_string"}],
    "resources": {"limits": {"cpu": 1, "memory": "512Mi"}},
    "connects": ["prefect"],
}


class Cluster:
    """Stands in for the cluster, which remembers the runs."""

    def __init__(self) -> None:
        self.there: dict[str, Run] = {}
        self.started: list[tuple[str, Workload, Mapping[str, str], Mapping[str, str] | None]] = []
        self.failure: Exception | None = None
        self.slow = threading.Event()
        self.slow.set()

    def observe(self) -> list[Observed]:
        return [workload("prefect", task(1))]

    def events(self) -> Iterator[object]:
        threading.Event().wait()
        yield None

    def start(
        self,
        set_name: str,
        workload: Workload,
        *,
        images: Mapping[str, str],
        secret_values: Mapping[str, str] | None = None,
    ) -> None:
        self.slow.wait(10)
        if self.failure:
            raise self.failure
        self.started.append((set_name, workload, images, secret_values))
        self.end(workload.name, "running", set_name)

    def end(self, name: str, state: str, set_name: str = "runs.pipelines", **more: Any) -> None:
        now = datetime.now(UTC).isoformat()
        self.there[name] = Run(
            **{"name": name, "set_name": set_name, "state": state, "created": now, "since": now, **more}
        )

    def runs(self, set_name: str) -> list[Run]:
        if isinstance(self.failure, EngineError):
            raise self.failure
        return [run for run in self.there.values() if run.set_name == set_name]

    def run_log(self, set_name: str, name: str, *, since: str = "", lines: int = 200) -> list[LogLine]:
        told = [LogLine(f"2026-11-30T01:02:0{number}.000000000Z", f"line {number}") for number in range(5)]
        told[4] = dataclasses.replace(told[4], text="logged in as admin:secret")
        return [line for line in told if line.position > since][:lines]

    def remove_run(self, set_name: str, name: str) -> bool:
        return self.there.pop(name, None) is not None

    def apply(self, *given: Any, **more: Any) -> Any:
        raise AssertionError("no set is applied here")

    absent = apply


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def client(cluster: Cluster, tmp_path: Path) -> Iterator[TestClient]:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "prefect_auth_string").write_text("admin:secret")
    tokens = tmp_path / "tokens.json"
    rights = {"runs": True, "secrets": ["prefect_auth_string"], "connects": ["prefect"]}
    tokens.write_text(json.dumps({"pipelines": {"token": TOKEN, **rights}, "somebody": {"token": OTHER}}))
    settings = Settings(registry="127.0.0.1:5000", secrets_dir=secrets, resync_seconds=0.05, runs=2)
    agent = Agent(settings, Clients.read(tokens), lambda: cluster, cluster.observe, cluster.events)
    with TestClient(agent.app()) as client:
        wait_for(lambda: client.get("/readyz").status_code == 200)
        client.headers["authorization"] = f"Bearer {TOKEN}"
        yield client


def wait_for(holds: Callable[[], Any], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def put(client: TestClient, name: str = "run-1", images: Any = IMAGES, **more: Any) -> Any:
    return client.put(f"/v1/runs/{name}", json={"workload": {**RUN, "name": name, **more}, "images": images})


def test_a_run_from_its_start_to_its_removal(client: TestClient, cluster: Cluster) -> None:
    answer = put(client)
    assert answer.status_code == 201 and answer.headers["location"] == "/v1/runs/run-1"
    assert answer.json()["state"] == "running" and answer.json()["ended"] is False
    [(set_name, started, images, values)] = cluster.started
    assert (set_name, started.name, images) == ("runs.pipelines", "run-1", IMAGES)
    assert values == {"prefect_auth_string": "admin:secret"}
    assert put(client).status_code == 200 and len(cluster.started) == 1

    cluster.end("run-1", "failed", exit_code=3, reason="task: non-zero exit (3)")
    wait_for(lambda: client.get("/v1/runs/run-1").json()["state"] == "failed")
    assert client.get("/v1/runs/run-1").json()["exit_code"] == 3
    assert [run["name"] for run in client.get("/v1/runs").json()["runs"]] == ["run-1"]

    first = client.get("/v1/runs/run-1/logs", params={"lines": 3}).json()
    assert first["lines"] == ["line 0", "line 1", "line 2"]
    rest = client.get("/v1/runs/run-1/logs", params={"since": first["position"]}).json()
    assert rest["lines"] == ["line 3", "logged in as ********"]
    assert client.get("/v1/runs/run-1/logs", params={"since": rest["position"]}).json() == {
        "lines": [],
        "position": rest["position"],
    }
    for wrong in ({"since": "yesterday"}, {"lines": "all"}, {"lines": "0"}, {"lines": "99999"}):
        assert client.get("/v1/runs/run-1/logs", params=wrong).status_code == 422

    assert client.delete("/v1/runs/run-1").status_code == 204
    for method, path in (("GET", ""), ("GET", "/logs"), ("DELETE", "")):
        assert client.request(method, f"/v1/runs/run-1{path}").status_code == 404


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "service"}, "run-1.kind: a run is a job"),
        ({"volumes": [{"name": "a", "path": "/a"}]}, "run-1.volumes: would stay behind"),
        ({"volumes": [{"name": "a", "path": "/a", "scope": "node"}]}, "run-1.volumes: would stay behind"),
        ({"jobs": [{"name": "b", "image": "pipelines"}]}, "run-1.jobs: a run has none"),
        ({"name": "run-2"}, "run-2.name: the run of this request is run-1"),
        ({"name": "prefect", "connects": []}, "prefect.name: prefect belongs to the set platform"),
        ({"secrets": [{"name": "mlflow_admin_password"}]}, "run-1.secrets: mlflow_admin_password is not lent"),
        ({"connects": ["postgresql"]}, "run-1.connects: postgresql is not open to pipelines"),
        ({"cluster_access": True}, "run-1.cluster_access: is for the platform's own agent"),
        ({"resources": {}}, "run-1.resources.limits: cpu and memory are needed"),
        ({"read_only": False}, "run-1.read_only"),
        ({"image": "other"}, "run-1.image: other is not among the images"),
    ],
)
def test_what_reaches_too_far_is_refused(
    client: TestClient, cluster: Cluster, change: dict[str, Any], problem: str
) -> None:
    answer = client.put("/v1/runs/run-1", json={"workload": {**RUN, **change}, "images": IMAGES})
    assert answer.status_code == 422 and answer.json()["error"] == "the run is refused"
    assert any(text.startswith(problem) for text in answer.json()["problems"]), answer.json()
    assert cluster.started == []


@pytest.mark.parametrize(
    "body", [[], {"workloads": [RUN]}, {"workload": RUN, "images": ["x"]}, {"workload": None, "images": {}}, {}]
)
def test_what_is_no_run_is_refused(client: TestClient, body: Any) -> None:
    assert client.put("/v1/runs/run-1", json=body).status_code == 422


def test_images_are_the_sites_own(client: TestClient) -> None:
    answer = put(client, images={"pipelines": "docker.io/library/python@sha256:" + "a" * 64})
    assert answer.status_code == 422 and "is not of the site's registry" in answer.json()["problems"][0]


def test_only_who_may_start_runs_sees_any(client: TestClient) -> None:
    for header, code in ((f"Bearer {OTHER}", 403), ("Bearer x", 401)):
        for method, path in (
            ("GET", ""),
            ("PUT", "/run-1"),
            ("GET", "/run-1"),
            ("DELETE", "/run-1"),
            ("GET", "/r/logs"),
        ):
            answer = client.request(method, f"/v1/runs{path}", headers={"authorization": header})
            assert answer.status_code == code, (method, path)


def test_so_many_go_on_at_once_and_no_more(client: TestClient, cluster: Cluster) -> None:
    for number in range(2):
        assert put(client, f"run-{number}").status_code == 201
    answer = put(client, "run-2")
    assert answer.status_code == 429 and "2 runs go on" in answer.json()["error"]
    cluster.end("run-0", "succeeded", exit_code=0)
    assert put(client, "run-2").status_code == 201
    for number in range(3, 40):
        cluster.end(f"run-{number}", "failed")
    cluster.there.pop("run-1")
    assert put(client, "run-40").status_code == 429


def test_what_the_cluster_says_is_told_on(client: TestClient, cluster: Cluster) -> None:
    cluster.failure = WorkloadError("can't be run here", problems=["run-1.resources.generic.fpga: unknown"])
    answer = put(client)
    assert answer.status_code == 422 and "fpga" in answer.json()["problems"][0]
    cluster.failure = EngineError("no answer")
    assert put(client).status_code == 503 and client.get("/v1/runs").status_code == 503
    cluster.failure = None
    assert put(client).status_code == 201


def test_a_start_that_takes_long_holds_up_nobody_who_asks(client: TestClient, cluster: Cluster) -> None:
    cluster.slow.clear()
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(put(client).status_code))
    thread.start()
    for _ in range(5):
        assert client.get("/v1/runs").status_code == client.get("/v1/workloads").status_code == 200
    assert answers == []
    cluster.slow.set()
    thread.join(10)
    assert answers == [201]


def test_a_new_agent_knows_all_runs(client: TestClient, cluster: Cluster, tmp_path: Path) -> None:
    put(client)
    tokens = Clients.read(tmp_path / "tokens.json")
    agent = Agent(Settings(resync_seconds=0.05), tokens, lambda: cluster, cluster.observe, cluster.events)
    with TestClient(agent.app(), headers={"authorization": f"Bearer {TOKEN}"}) as other:
        assert other.get("/v1/runs/run-1").json()["state"] == "running"
        assert other.delete("/v1/runs/run-1").status_code == 204


def test_what_nobody_collects_is_collected_after_a_day(cluster: Cluster, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    tokens.write_text(json.dumps({"pipelines": {"token": TOKEN, "runs": True}}))
    old = (datetime.now(UTC) - timedelta(days=1, minutes=1)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
    for name, state, since in (("old", "failed", old), ("going", "running", old), ("new", "succeeded", "")):
        cluster.end(name, state)
        cluster.there[name] = dataclasses.replace(cluster.there[name], since=since or cluster.there[name].since)
    agent = Agent(Settings(resync_seconds=0.05), Clients.read(tokens), lambda: cluster, cluster.observe, cluster.events)
    with TestClient(agent.app()):
        wait_for(lambda: "old" not in cluster.there)
    assert set(cluster.there) == {"going", "new"}


def test_metrics_are_few_whatever_the_number_of_runs(client: TestClient, cluster: Cluster) -> None:
    for number in range(30):
        cluster.end(f"run-{number}", "failed")
    wait_for(lambda: len(client.get("/v1/runs").json()["runs"]) == 30)
    text = generate_latest().decode()
    assert 'mlops_agent_runs{client="pipelines",state="failed"} 30.0' in text
    assert len([line for line in text.splitlines() if line.startswith("mlops_agent_runs{")]) == 6
    assert "run-7" not in text
