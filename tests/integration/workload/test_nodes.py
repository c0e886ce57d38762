# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What only shows on a Swarm of several nodes: three managers of the test bed, without any registry."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from cluster import IMAGES, ROOT, Cluster, server

pytestmark = [pytest.mark.docker, pytest.mark.testbed]
BED = os.environ.get("MLOPS_TEST_BED", "wl")


@dataclass
class Bed:
    """``images``: the ids of the images that every node has."""

    sockets: dict[str, str]
    images: dict[str, str]

    def cluster(self, node: str = "node1") -> Cluster:
        return Cluster("t-wl", host=self.sockets[node])


def bed_command(*arguments: str) -> str:
    done = subprocess.run(
        [str(ROOT / "bin/testbed"), "swarm", "--name", BED, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode and arguments[0] == "up":
        pytest.skip(f"no test bed here: {done.stderr.strip()[-300:]}")
    return done.stdout


@pytest.fixture(scope="module")
def bed(images: None) -> Iterator[Bed]:
    bed_command("up")
    sockets = {}
    for line in bed_command("status").splitlines():
        fields = dict(item.split("=", 1) for item in line.split())
        sockets[fields["name"]] = fields["socket"]
    for socket in sockets.values():
        with subprocess.Popen(["docker", "save", *IMAGES.values()], stdout=subprocess.PIPE) as save:
            subprocess.run(["docker", "-H", socket, "load", "-q"], stdin=save.stdout, capture_output=True, check=True)
    engine = Cluster("t-wl", host=sockets["node1"]).engine
    found = {name: engine.get(f"/images/{tag}/json")["Id"] for name, tag in IMAGES.items()}
    yield Bed(sockets, found)
    if "MLOPS_TEST_BED" not in os.environ:
        bed_command("down")


def test_replicas_on_other_nodes_are_asked_too(bed: Bed) -> None:
    """Images first, everywhere; readiness from another node by a job on the same network."""
    cluster = bed.cluster()
    probes = {
        "liveness": {"http": {"port": "http", "path": "/live"}, "interval": 1, "start_period": 10},
        "readiness": {"http": {"port": "http", "path": "/"}, "timeout": 1},
    }
    web = server(replicas=3, late=4, probes=probes, placement={"spread": "node"})
    begin = time.monotonic()
    result = cluster.apply(web, images=bed.images, timeout=120)
    assert time.monotonic() - begin > 4 and result.workloads["web"].status == "healthy"
    names = [name for name in cluster.objects()["services"] if "_pull_" in name]
    assert len(names) == 1, "the pull job stays as a record"
    tasks = cluster.engine.get("/tasks", filters={"service": names})
    assert len({task["NodeID"] for task in tasks if task["Status"]["State"] == "complete"}) == 3
    nodes = {t["NodeID"] for t in cluster.engine.get("/tasks", filters={"service": ["t-wl_web"]})}
    assert len(nodes) == 3
    begin = time.monotonic()
    assert not cluster.apply(web, images=bed.images).changed and time.monotonic() - begin < 5
    assert not [name for name in cluster.objects()["services"] if "_ask_" in name]
    probes["readiness"] = {"command": ["true"]}
    assert "readiness.command" in str(cluster.fails(server(probes=probes), images=bed.images))
    cluster.apply(images=bed.images)
    assert cluster.objects()["services"] == []


def test_an_image_that_a_node_lacks_stops_the_rollout(bed: Bed) -> None:
    cluster, third = bed.cluster(), bed.cluster("node3")
    web = server(replicas=3)
    cluster.apply(web, images=bed.images)
    third.engine.delete(f"/images/{bed.images['two']}", force="true")
    error = cluster.fails({**web, "image": "two"}, images=bed.images)
    assert "can't be had on node3" in str(error) and "No such image" in str(error)
    assert cluster.service("web")["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] == bed.images["one"]
    with subprocess.Popen(["docker", "save", IMAGES["two"]], stdout=subprocess.PIPE) as save:
        subprocess.run(["docker", "-H", third.host or "", "load", "-q"], stdin=save.stdout, check=True)
    assert cluster.apply({**web, "image": "two"}, images=bed.images).workloads["web"].status == "healthy"
    cluster.absent()


def test_data_stay_where_they_are(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its node away the workload waits: elsewhere it would be an empty database."""
    cluster = bed.cluster()
    nodes = {node["Description"]["Hostname"]: node for node in cluster.engine.get("/nodes")}
    second = nodes["node2"]
    labels = {**second["Spec"].get("Labels", {}), "store": "here"}
    version = str(second["Version"]["Index"])
    cluster.engine.post(f"/nodes/{second['ID']}/update", {**second["Spec"], "Labels": labels}, version=version)
    store = server("store", volumes=[{"name": "data", "path": "/data"}], placement={"labels": {"store": "here"}})
    cluster.apply(store, images=bed.images)
    bed.cluster("node2").run("store", "sh", "-c", "echo kept > /data/kept")
    free = {**store, "placement": {}}
    cluster.apply(free, images=bed.images)
    bed_command("stop", "node2")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        states = {node["Description"]["Hostname"]: node["Status"]["State"] for node in cluster.engine.get("/nodes")}
        if states["node2"] == "down":
            break
        time.sleep(0.5)
    with monkeypatch.context() as patch:
        patch.setattr("_workload.swarm.rollout.STUCK", 3.0)
        error = cluster.fails(free, images=bed.images)
    assert "no suitable node" in str(error) and "its data are on node2, which is down" in str(error)
    bed_command("start", "node2")
    result = cluster.apply(free, images=bed.images, timeout=120)
    assert result.workloads["store"].status == "healthy"
    assert bed.cluster("node2").run("store", "cat", "/data/kept") == "kept"
    cluster.absent()
