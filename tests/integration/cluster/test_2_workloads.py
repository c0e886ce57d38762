# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Workloads on three nodes: names across nodes, data that stays with its node, nodes and engines that fail."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._workload.swarm.backend import SwarmBackend
from on_bed import engine_process, eventually, on
from swarm import Bed, Node

NAMESPACE = "citest"
SERVE = "exec httpd -f -p 8080 -h"


def workload(name: str, script: str, **more: Any) -> dict[str, Any]:
    # Debian's busybox has a wget that crashes when given a time-out.
    check = ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/index.html"]
    probe = {"command": check, "interval": 2, "timeout": 5, "start_period": 30}
    return {
        "name": name,
        "image": "box",
        "command": ["/bin/sh", "-c"],
        "args": [script],
        "ports": [{"name": "http", "port": 8080}],
        "probes": {"startup": probe, "liveness": probe, "readiness": probe},
        "scratch": [{"path": "/tmp", "size": "1Mi"}],
        "resources": {"limits": {"cpu": 0.5, "memory": "32Mi"}},
        "user": "10001:10001",
        "read_only": True,
        "zone": "data",
        "stop_grace": 1,
        **more,
    }


WORKLOADS = [
    workload("echo", f"hostname >/tmp/index.html; {SERVE} /tmp", replicas=3, placement={"spread": "node"}),
    workload(
        "store",
        f"echo started >>/data/index.html; {SERVE} /data",
        volumes=[{"name": "data", "path": "/data", "size": "10Mi"}],
    ),
    workload(
        "client",
        f"echo ok >/tmp/index.html; {SERVE} /tmp",
        replicas=3,
        placement={"spread": "node"},
        connects=["echo", "store"],
    ),
]


def backend(node: Node) -> SwarmBackend:
    return SwarmBackend(NAMESPACE, host=f"unix://{node.socket}", wait_timeout=120)


@pytest.fixture(scope="module")
def running(cluster: Bed, image: str) -> Bed:
    result = backend(cluster.nodes[0]).apply("tests", WORKLOADS, images={"box": image})
    assert {name: outcome.status for name, outcome in result.workloads.items()} == {
        "echo": "healthy",
        "store": "healthy",
        "client": "healthy",
    }
    return cluster


def tasks(bed: Bed, name: str, asked: Node | None = None) -> dict[str, str]:
    """The node of each healthy task, by the task's id."""
    found = {item.name: item for item in backend(asked or bed.nodes[0]).observe()}[name]
    hosts = {node["ID"]: node["Description"]["Hostname"] for node in (asked or bed.nodes[0]).ask("GET", "/nodes")}
    return {task.id: hosts.get(task.node, task.node) for task in found.tasks if task.healthy}


def inside(node: Node, name: str, *command: str) -> str:
    """A command in the workload's container on a node."""
    service = f"label=com.docker.swarm.service.name={NAMESPACE}_{name}"
    container = on(node, "docker", "ps", "--quiet", "--filter", service, "--filter", "health=healthy").split()
    assert container, f"no healthy container of {name} on {node.name}"
    return on(node, "docker", "exec", container[0], *command)


def fetch(node: Node, url: str) -> str:
    return inside(node, "client", "wget", "-q", "-O", "-", url)


def boots(bed: Bed, asked: Node | None = None) -> int:
    """How often the store was started with its data, asked through any client that runs."""
    for place in tasks(bed, "client", asked).values():
        node = bed.node(place)
        if node.pid is not None:
            return fetch(node, "http://store:8080/index.html").count("started")
    raise AssertionError("no client runs")


def test_replicas_are_spread(running: Bed) -> None:
    assert set(tasks(running, "echo").values()) == {"node1", "node2", "node3"}


def test_applying_again_changes_nothing_from_any_manager(running: Bed, image: str) -> None:
    for node in running.nodes:
        assert not backend(node).apply("tests", WORKLOADS, images={"box": image}).changed


def test_names_resolve_to_the_tasks_on_all_nodes(running: Bed) -> None:
    for node in running.nodes:
        answers = {fetch(node, "http://echo:8080/index.html") for _ in range(30)}
        assert len(answers) == 3, f"{node.name} reached {answers}"
        assert "started" in fetch(node, "http://store:8080/index.html")


def test_data_stays_on_its_node(running: Bed, image: str) -> None:
    [(task, home)] = tasks(running, "store").items()
    before = boots(running)
    changed = [{**item, "env": {"ROUND": "2"}} if item["name"] == "store" else item for item in WORKLOADS]
    result = backend(running.nodes[0]).apply("tests", changed, images={"box": image})
    assert [name for name, outcome in result.workloads.items() if outcome.changed] == ["store"]
    [(again, place)] = tasks(running, "store").items()
    assert (again != task, place) == (True, home)
    assert boots(running) == before + 1


def test_a_lost_node_takes_no_data_elsewhere_and_brings_it_back(running: Bed) -> None:
    [home] = tasks(running, "store").values()
    lost = running.node(home)
    asked, other = [node for node in running.nodes if node is not lost]
    before = boots(running)
    lost.stop()

    # Two of three managers go on, and what can move has moved.
    def moved() -> bool:
        places = list(tasks(running, "echo", asked).values())
        return len(places) == 3 and home not in places

    eventually(120, moved, "three replicas on two nodes")
    answers = eventually(30, lambda: {fetch(other, "http://echo:8080/index.html") for _ in range(9)}, "the name")
    assert answers
    assert tasks(running, "store", asked) == {}

    running.start(lost)
    eventually(120, lambda: home in tasks(running, "store", asked).values(), "the data's task on its node again")
    eventually(60, lambda: boots(running, asked) > before, "its name, and its data")


def test_a_killed_engine_brings_everything_back(running: Bed) -> None:
    [home] = tasks(running, "store").values()
    node = running.node(home)
    before = boots(running)
    process = engine_process(node)
    on(node, "sh", "-c", "kill -9 $(cat /run/docker.pid)")
    eventually(20, lambda: not node.engine_answers(), "the engine to be gone")
    running.start(node)
    assert engine_process(node) != process
    healthy = {"echo": 3, "store": 1, "client": 3}
    for name, count in healthy.items():
        eventually(120, lambda n=name, c=count: len(tasks(running, n)) == c, f"{name} to be healthy")
    eventually(60, lambda: boots(running) > before, "the store to be up again with its data")
    assert not on(node, "docker", "ps", "--quiet", "--filter", "health=unhealthy")


def test_nothing_is_left_of_the_workloads(running: Bed) -> None:
    cluster = backend(running.nodes[0])
    cluster.absent("tests", remove_volumes=True)
    assert cluster.observe() == []
    for kind in ("service", "network", "config", "secret"):
        left = on(running.nodes[0], "docker", kind, "ls", "--quiet", "--filter", f"name={NAMESPACE}_")
        assert left == "", kind
