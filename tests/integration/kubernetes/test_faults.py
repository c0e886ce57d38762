# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong: broken versions, failing jobs, kills, Pods that go, an API server that is restarted."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cluster import SERVE, Cluster, bed, job, server

CRASH = ["sh", "-c", "echo going to crash; exit 3"]
DEAF = ["sh", "-c", "echo deaf; exec sleep 1000"]
DATA = [{"name": "data", "path": "/data", "size": "16Mi"}]
NO_IMAGE = "t-kubernetes.invalid/none@sha256:" + "0" * 64


def quick(**more: Any) -> dict[str, Any]:
    """A server that is given up soon."""
    workload = server(**more)
    workload["probes"] = {
        "liveness": {"http": {"port": "http", "path": "/live"}, "interval": 1, "retries": 2, "start_period": 3}
    }
    return workload


class Watcher(threading.Thread):
    """Counts the moments in which no Pod of a service takes requests."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        super().__init__(daemon=True)
        self.cluster, self.workload, self.gaps, self.looks = cluster, name, 0, 0
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.1):
            found = next(item for item in self.cluster.backend().observe() if item.name == self.workload)
            self.looks += 1
            self.gaps += not any(task.healthy for task in found.tasks)


@pytest.mark.parametrize("broken", ["crashes", "deaf", "no image"])
def test_a_broken_version_leaves_the_old_one_serving(cluster: Cluster, broken: str) -> None:
    web = quick()
    cluster.apply(web)
    old = [pod["metadata"]["uid"] for pod in cluster.pods("web")]
    watcher = Watcher(cluster, "web")
    watcher.start()
    images = {**cluster.images, "one": NO_IMAGE} if broken == "no image" else cluster.images
    args = {"crashes": CRASH, "deaf": DEAF}.get(broken, web["args"])
    begin = time.monotonic()
    error = cluster.fails({**web, "args": args, "env": {"A": "1"}}, images=images)
    assert time.monotonic() - begin < 60
    watcher.stopped.set()
    outcome = error.result.workloads["web"]
    assert outcome.status == "rolled back" and "the old version is back" in str(outcome.error)
    cause = {"crashes": "exited with code 3", "deaf": "robe failed", "no image": "its image can't be pulled"}[broken]
    assert cause in str(outcome.error)
    assert outcome.log == {"crashes": ["going to crash"], "deaf": ["deaf"]}.get(broken, [])
    assert [pod["metadata"]["uid"] for pod in cluster.pods("web")] == old
    assert watcher.looks > 5 and watcher.gaps == 0
    assert not cluster.apply(web).changed


def test_a_broken_version_of_what_has_data_comes_back(cluster: Cluster) -> None:
    """Stop-first: down for a while, then the old version again, with its data."""
    store = quick(name="store", volumes=DATA)
    cluster.apply(store)
    cluster.run("store", "echo kept > /data/kept")
    for args in (CRASH, DEAF):
        begin = time.monotonic()
        error = cluster.fails({**store, "args": args})
        assert error.result.workloads["store"].status == "rolled back" and time.monotonic() - begin < 60
        assert cluster.run("store", "cat /data/kept") == "kept"
    assert not cluster.apply(store).changed


def test_an_image_that_is_nowhere_stops_nothing_that_has_data(cluster: Cluster) -> None:
    store = quick(name="store", volumes=DATA)
    cluster.apply(store)
    old = cluster.pods("store")[0]["metadata"]["uid"]
    error = cluster.fails({**store, "image": "none"}, images={**cluster.images, "none": NO_IMAGE})
    outcome = error.result.workloads["store"]
    assert "its image can't be pulled" in str(outcome.error) and "left alone" in str(outcome.error)
    assert not outcome.changed and cluster.pods("store")[0]["metadata"]["uid"] == old
    result = cluster.apply({**store, "image": "two"})
    assert any("bringing" in line for line in result.progress)
    assert not [item for item in cluster.objects() if "-pull-" in item]


def test_a_version_that_no_node_can_take_comes_back(cluster: Cluster) -> None:
    web = quick()
    cluster.apply(web)
    error = cluster.fails({**web, "placement": {"labels": {"nowhere": "true"}}})
    outcome = error.result.workloads["web"]
    assert outcome.status == "rolled back" and "no node takes it" in str(outcome.error)
    assert "node selector" in str(outcome.error) or "node affinity" in str(outcome.error)


def test_a_first_start_that_fails_is_told_soon(cluster: Cluster) -> None:
    begin = time.monotonic()
    error = cluster.fails(quick(name="bad", args=CRASH), server("web", connects=["bad"]), server("well"), timeout=120)
    assert time.monotonic() - begin < 60
    found = {name: outcome.status for name, outcome in error.result.workloads.items()}
    assert found == {"bad": "failed", "web": "waiting", "well": "healthy"}
    assert "exited with code 3" in str(error) and error.result.workloads["bad"].log == ["going to crash"]
    result = cluster.apply(quick(name="bad"), server("web", connects=["bad"]), server("well"))
    assert not result.workloads["well"].changed


@pytest.mark.parametrize("volumes", [[], DATA], ids=["stateless", "with data"])
def test_what_never_got_healthy_is_replaced_by_what_does(cluster: Cluster, volumes: list[dict[str, str]]) -> None:
    web = quick(volumes=volumes)
    cluster.fails({**web, "args": CRASH}, timeout=30)
    assert cluster.apply(web).workloads["web"].status == "healthy"
    cluster.fails({**web, "args": DEAF, "env": {"B": "2"}})
    assert not cluster.apply(web).changed


def test_a_job_that_fails_stops_what_builds_on_it(cluster: Cluster) -> None:
    counting = "echo ran $COUNT; exit $CODE"

    def web(code: str, count: str) -> dict[str, Any]:
        return server(jobs=[job("web-job", counting, env={"CODE": code, "COUNT": count})])

    error = cluster.fails(web("4", "1"))
    assert error.result.workloads["web-job"].log == ["ran 1"] and "exited with code 4" in str(error)
    assert error.result.workloads["web"].status == "waiting"
    assert "failed before" in cluster.fails(web("4", "1")).result.workloads["web-job"].why, "it is tried again"
    result = cluster.apply(web("0", "2"))
    assert result.workloads["web-job"].log == ["ran 2"]
    again = cluster.apply(web("0", "2"))
    assert not again.changed and again.workloads["web-job"].status == "completed", "a job that is done is not repeated"
    assert len([item for item in cluster.objects() if item.startswith("Job ")]) == 1, "the failed one is collected"


def test_ready_is_more_than_alive(cluster: Cluster) -> None:
    begin = time.monotonic()
    result = cluster.apply(server(late=5), server("after", connects=["web"]))
    assert time.monotonic() - begin > 5 and any("not ready" in line for line in result.progress)
    started = [line for line in result.progress if "after: create" in line]
    assert float(started[0].split()[0]) > 5, "what connects to it starts when it is ready"
    error = cluster.fails(server(late=1000, update={"health_window": 1}), server("after"))
    assert error.result.workloads["web"].status == "rolled back" and "Readiness probe failed" in str(error)


def test_without_rollback_the_new_version_stays(cluster: Cluster) -> None:
    web = quick(update={"health_window": 2, "rollback": False})
    cluster.apply(web)
    error = cluster.fails({**web, "args": CRASH})
    assert error.result.workloads["web"].status == "failed"
    assert cluster.apply(web).workloads["web"].why == ["args"]


def test_secrets_are_not_in_logs(cluster: Cluster) -> None:
    script = "cat /run/secrets/web_password; exit 1"
    error = cluster.fails(job("leak", script, secrets=[{"name": "web_password"}]))
    assert error.result.workloads["leak"].log == ["********"] and "battery" not in str(error.result.to_dict())


def test_killed_at_any_moment_the_next_run_converges(cluster: Cluster) -> None:
    chance = random.Random(4)
    for attempt in range(4):
        workloads = [
            quick(name="web", env={"N": str(attempt)}, jobs=[job("web-job", f"echo {attempt}")], connects=["store"]),
            quick(name="store", env={"N": str(attempt)}, volumes=DATA),
        ]
        child = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("cluster.py")),
                cluster.namespace,
                cluster.kubeconfig,
                json.dumps(cluster.images),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert child.stdin is not None
        child.stdin.write(json.dumps(workloads).encode())
        child.stdin.close()
        time.sleep(chance.uniform(0.4, 5))
        child.send_signal(signal.SIGKILL)
        child.wait()
        result = cluster.apply(*workloads)
        assert {outcome.status for outcome in result.workloads.values()} == {"healthy", "completed"}
        assert not cluster.apply(*workloads).changed


def test_pods_that_go_meanwhile(cluster: Cluster) -> None:
    """One is deleted by hand, one evicted by a drain; the run waits for what replaces them."""
    web, store = server(late=3, replicas=2), server("store", volumes=DATA)
    done: list[Any] = []

    def apply() -> None:
        try:
            done.append(cluster.apply(web, store))
        except Exception as error:
            done.append(error)

    run = threading.Thread(target=apply)
    run.start()
    until = time.monotonic() + 20
    while not (cluster.pods("web") and cluster.pods("store")) and time.monotonic() < until:
        time.sleep(0.1)
    cluster.api.delete(cluster.pods("web")[0])
    store_pod = cluster.pods("store")[0]["metadata"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": store_pod["name"]}}
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/{store_pod['name']}/eviction"
    cluster.api._patiently("POST", path, {}, {**eviction, "metadata": {"name": store_pod["name"]}})
    run.join(90)
    assert done[0].workloads["web"].status == done[0].workloads["store"].status == "healthy", done
    assert not cluster.apply(web, store).changed


def test_the_api_server_is_restarted_meanwhile(cluster: Cluster, on_bed: bool) -> None:
    if not on_bed:
        pytest.skip("the API server is not ours to restart")
    for moment in (0.3, 2.0):
        web = server(late=4, env={"LATE": "4", "MOMENT": str(moment)})
        timer = threading.Timer(moment, bed, ("restart", "node1", "kube-apiserver"))
        timer.start()
        result = cluster.apply(web, timeout=120)
        timer.join()
        assert result.workloads["web"].status == "healthy"
        assert not cluster.apply(web).changed


def test_serve_is_what_probes_ask(cluster: Cluster) -> None:
    """A container without a probe has to last."""
    flashing = {**server(), "probes": {}, "args": ["sh", "-c", "sleep 1.5; exit 5"]}
    error = cluster.fails(flashing, timeout=40)
    assert "exited with code 5" in str(error)
    lasting = {**server(), "probes": {}, "args": ["sh", "-c", SERVE]}
    assert cluster.apply(lasting).workloads["web"].status == "healthy"
