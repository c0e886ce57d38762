# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong: broken versions, failing jobs, kills."""

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
from cluster import Cluster, job, server

pytestmark = pytest.mark.docker

CRASH = ["sh", "-c", "echo going to crash; exit 3"]
DEAF = ["sh", "-c", "echo deaf; exec sleep 1000"]


def quick(**more: Any) -> dict[str, Any]:
    """A server that is given up soon."""
    workload = server(**more)
    workload["probes"] = {
        "liveness": {"http": {"port": "http", "path": "/live"}, "interval": 1, "retries": 2, "start_period": 3}
    }
    return workload


class Watcher(threading.Thread):
    """Counts the moments in which no task of a service is healthy."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        super().__init__(daemon=True)
        self.cluster, self.name_of, self.gaps, self.looks = Cluster(cluster.namespace), name, 0, 0
        self.stopped = threading.Event()

    def run(self) -> None:
        service = self.cluster.service(self.name_of)["ID"]
        while not self.stopped.wait(0.1):
            tasks = self.cluster.engine.get("/tasks", filters={"service": [service]})
            self.looks += 1
            self.gaps += not any(task["Status"]["State"] == "running" for task in tasks)


@pytest.mark.parametrize("args", [CRASH, DEAF], ids=["crashes", "deaf"])
def test_a_broken_version_leaves_the_old_one_serving(cluster: Cluster, args: list[str]) -> None:
    web = quick()
    cluster.apply(web)
    old = cluster.container("web")
    watcher = Watcher(cluster, "web")
    watcher.start()
    error = cluster.fails({**web, "args": args, "env": {"A": "1"}})
    watcher.stopped.set()
    outcome = error.result.workloads["web"]
    assert outcome.status == "rolled back" and "the old version is back" in str(outcome.error)
    assert ("exit (3)" if args is CRASH else "unhealthy") in str(outcome.error)
    assert outcome.log == (["going to crash"] if args is CRASH else ["deaf"])
    assert cluster.container("web") == old and watcher.looks > 5 and watcher.gaps == 0
    assert not cluster.apply(web).changed


def test_a_broken_version_of_what_has_data_comes_back(cluster: Cluster) -> None:
    """Stop-first: down for a while, then the old version again, with its data."""
    store = quick(name="store", volumes=[{"name": "data", "path": "/data"}])
    cluster.apply(store)
    cluster.run("store", "sh", "-c", "echo kept > /data/kept")
    begin = time.monotonic()
    error = cluster.fails({**store, "args": CRASH})
    assert error.result.workloads["store"].status == "rolled back" and time.monotonic() - begin < 40
    assert cluster.run("store", "cat", "/data/kept") == "kept"


def test_a_version_that_no_node_can_take_comes_back(cluster: Cluster) -> None:
    web = quick()
    cluster.apply(web)
    error = cluster.fails({**web, "placement": {"labels": {"nowhere": "true"}}})
    outcome = error.result.workloads["web"]
    assert outcome.status == "rolled back" and "no suitable node" in str(outcome.error)


def test_a_first_start_that_fails_is_told_soon(cluster: Cluster) -> None:
    begin = time.monotonic()
    error = cluster.fails(quick(name="bad", args=CRASH), server("web", connects=["bad"]), server("well"), timeout=120)
    assert time.monotonic() - begin < 60
    found = {name: outcome.status for name, outcome in error.result.workloads.items()}
    assert found == {"bad": "failed", "web": "waiting", "well": "healthy"}
    assert "exit (3)" in str(error) and error.result.workloads["bad"].log == ["going to crash"]
    result = cluster.apply(quick(name="bad"), server("web", connects=["bad"]), server("well"))
    assert not result.workloads["well"].changed


def test_what_never_got_healthy_is_replaced_by_what_does(cluster: Cluster) -> None:
    for attempt in range(3):
        web = quick(name=f"web{attempt}")
        cluster.fails({**web, "args": CRASH})
        result = cluster.apply(web)
        assert result.workloads[web["name"]].status == "healthy"


def test_a_job_that_fails_stops_what_builds_on_it(cluster: Cluster) -> None:
    counting = "echo ran $COUNT; exit $CODE"

    def web(code: str, count: str) -> dict[str, Any]:
        return server(jobs=[job("web-job", counting, env={"CODE": code, "COUNT": count})])

    error = cluster.fails(web("4", "1"))
    assert error.result.workloads["web-job"].log == ["ran 1"] and "exit (4)" in str(error)
    assert error.result.workloads["web"].status == "waiting"
    assert "failed before" in cluster.fails(web("4", "1")).result.workloads["web-job"].why, "it is tried again"
    result = cluster.apply(web("0", "2"))
    assert result.workloads["web-job"].log == ["ran 2"]
    again = cluster.apply(web("0", "2"))
    assert not again.changed and again.workloads["web-job"].status == "completed", "a job that is done is not repeated"
    assert len(cluster.objects()["services"]) == 2, "the failed one is collected"


def test_ready_is_more_than_alive(cluster: Cluster) -> None:
    probes = {
        "liveness": {"http": {"port": "http", "path": "/live"}, "interval": 1, "timeout": 2, "start_period": 5},
        "readiness": {"http": {"port": "http", "path": "/"}, "timeout": 1},
    }
    begin = time.monotonic()
    result = cluster.apply(server(late=5, probes=probes), server("after", connects=["web"]))
    assert time.monotonic() - begin > 5 and any("not ready yet" in line for line in result.progress)
    assert list(result.workloads) and result.workloads["after"].status == "healthy"
    started = [line for line in result.progress if "after: create" in line]
    assert float(started[0].split()[0]) > 5, "what connects to it starts when it is ready"
    error = cluster.fails(server(late=1000, probes=probes, update={"health_window": 1}), server("after"))
    assert error.result.workloads["web"].status == "rolled back" and "never got ready" in str(error)


def test_what_was_gone_is_forgotten(cluster: Cluster) -> None:
    """The label of the node that has the data is put back where the data are."""
    store = server("store", volumes=[{"name": "data", "path": "/data"}])
    cluster.apply(store)
    assert cluster.objects()["pins"] == [f"mlops.pin.{cluster.namespace}.store"]
    node = cluster.engine.get("/nodes")[0]
    labels = {
        key: value for key, value in node["Spec"]["Labels"].items() if f"mlops.pin.{cluster.namespace}." not in key
    }
    version = str(node["Version"]["Index"])
    cluster.engine.post(f"/nodes/{node['ID']}/update", {**node["Spec"], "Labels": labels}, version=version)
    result = cluster.apply(store)
    assert result.changed and cluster.objects()["pins"] == [f"mlops.pin.{cluster.namespace}.store"]
    assert cluster.run("store", "true") == ""


def test_killed_at_any_point_it_converges(cluster: Cluster) -> None:
    """A run that is killed leaves nothing that the next one can't finish."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    moments = random.Random(seed)
    workloads: list[dict[str, Any]] = []
    for version in range(6):
        files = [{"path": "/etc/web.ini", "content": f"version {version}"}]
        store = server("store", volumes=[{"name": "data", "path": "/data"}], configs=files, update={"health_window": 1})
        web = server(
            configs=files,
            secrets=[{"name": "web_password", "path": "/run/secrets/password"}],
            connects=["store"],
            jobs=[job("web-job", f"echo {version}")],
            update={"health_window": 1},
        )
        workloads = [store, web] if version % 2 else [store, web, server(f"extra-{version}")]
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("cluster.py")), cluster.namespace],
            stdin=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(workloads))
        process.stdin.close()
        time.sleep(0.4 + moments.random() * 5)
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = cluster.apply(*workloads)
    assert {outcome.status for outcome in result.workloads.values()} <= {"healthy", "completed", "absent"}
    assert cluster.run("web", "cat", "/etc/web.ini") == "version 5"
    assert not cluster.apply(*workloads).changed
    found = cluster.objects()
    assert {kind: len(names) for kind, names in found.items()} == {
        "services": 3,
        "configs": 2,
        "secrets": 1,
        "networks": 1,
        "volumes": 1,
        "pins": 1,
    }


def test_nothing_is_touched_when_anything_is_wrong(cluster: Cluster) -> None:
    error = cluster.fails(
        server("one", image="three", connects=["nobody"]),
        server("two", secrets=[{"name": "unknown"}], env={"PASSWORD": "xcorrect horse battery staplex"}),
        server("three", configs=[{"path": "/etc/big", "content": "x" * 1_100_000}]),
    )
    text = str(error)
    for part in ("one.image", "one.connects", "two.secrets[0].name", "two.env.PASSWORD", "three.configs[0].content"):
        assert part in text
    assert "battery staple" not in text
    assert not any(cluster.objects().values())
