# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The role swarm_cluster on three hosts. The tests build on each other, in this order."""

from __future__ import annotations

import json
from pathlib import Path

from on_bed import engine_process, eventually, on, play
from swarm import Bed


def written(bed: Bed) -> set[str]:
    """The files that nodes have of their own."""
    return {
        str(path.relative_to(bed.directory))
        for node in bed.nodes
        for path in (node.directory / "layers").glob("*/upper/**/*")
        if path.is_file()
    }


def labels(bed: Bed) -> dict[str, dict[str, str]]:
    nodes = [node["Spec"]["Labels"] for node in bed.nodes[0].ask("GET", "/nodes")]
    return {own["mlops.host"]: own for own in nodes}


def test_check_mode_on_blank_hosts_touches_nothing(bed: Bed) -> None:
    before = written(bed)
    done = play(bed, "--check", "--diff")
    assert done.code == 0, done.output
    assert done.changed > 0
    assert "max-size" in done.output
    assert written(bed) == before
    assert not any(node.engine_answers() for node in bed.nodes)


def test_the_hosts_become_one_swarm(cluster: Bed) -> None:
    nodes = cluster.nodes[0].ask("GET", "/nodes")
    assert [node["Status"]["State"] for node in nodes] == ["ready"] * 3
    assert [node["ManagerStatus"]["Reachability"] for node in nodes] == ["reachable"] * 3
    assert {node["ManagerStatus"]["Addr"] for node in nodes} == {f"{node.address}:2377" for node in cluster.nodes}
    assert set(labels(cluster)) == {"node1", "node2", "node3"}


def test_logs_rotate(cluster: Bed) -> None:
    for node in cluster.nodes:
        options = json.loads(on(node, "cat", "/etc/docker/daemon.json"))
        assert options["log-opts"] == {"max-size": "10m", "max-file": "3"}
        assert options["live-restore"] is False


def test_tokens_are_not_shown(cluster: Bed) -> None:
    output = (cluster.directory / "first-run.log").read_text()
    tokens = cluster.nodes[0].ask("GET", "/swarm")["JoinTokens"]
    assert "SWMTKN-" not in output
    assert not any(token in output for token in tokens.values())


def test_running_again_changes_nothing_and_restarts_nothing(cluster: Bed) -> None:
    before = [engine_process(node) for node in cluster.nodes]
    for arguments in ((), ("--check",)):
        done = play(cluster, *arguments)
        assert (done.code, done.changed) == (0, 0), done.output
    assert [engine_process(node) for node in cluster.nodes] == before


def test_labels_follow_the_inventory_and_those_of_others_stay(cluster: Bed) -> None:
    on(cluster.nodes[1], "docker", "node", "update", "--label-add", "site=mine", "node2")
    assert play(cluster, "-e", '{"swarm_cluster_node_labels": {"disk": "nvme", "rack": 3}}').changed == 1
    assert labels(cluster)["node2"].items() >= {"disk": "nvme", "rack": "3", "site": "mine"}.items()
    assert play(cluster).changed == 1
    assert labels(cluster)["node2"] == {"mlops.host": "node2", "site": "mine"}


def test_a_drained_node_stays_drained(cluster: Bed) -> None:
    on(cluster.nodes[0], "docker", "node", "update", "--availability", "drain", "node1")
    assert play(cluster).changed == 0
    assert play(cluster, "-e", "swarm_cluster_availability=active").changed == 1


def test_a_changed_option_waits_for_a_restart_that_is_asked_for(cluster: Bed) -> None:
    node = cluster.nodes[2]
    on(node, "sh", "-c", r"sed -i 's/^{/{\"max-concurrent-downloads\": 5,/' /etc/docker/daemon.json")
    before = engine_process(node)
    change = ("-e", '{"host_docker_log_options": {"max-size": "20m", "max-file": "3"}}', "--limit", "node3")
    done = play(cluster, *change)
    assert done.code == 0, done.output
    assert done.changed == 1
    assert "goes on running with its former log-opts" in done.output
    again = play(cluster, *change, "--check")
    assert again.changed == 0
    assert "goes on running with its former log-opts" in again.output
    assert engine_process(node) == before

    done = play(cluster, *change, "-e", "host_docker_restart=true")
    assert done.code == 0, done.output
    assert engine_process(node) != before
    options = json.loads(on(node, "cat", "/etc/docker/daemon.json"))
    assert options["max-concurrent-downloads"] == 5
    assert options["log-opts"]["max-size"] == "20m"
    after = engine_process(node)
    assert play(cluster, *change, "-e", "host_docker_restart=true").changed == 0
    assert engine_process(node) == after


def test_what_the_engine_takes_over_while_it_runs_is_reloaded(cluster: Bed) -> None:
    node = cluster.nodes[2]
    before = engine_process(node)
    done = play(cluster, "-e", '{"host_docker_insecure_registries": ["registry.test:5000"]}', "--limit", "node3")
    assert done.changed == 1, done.output
    assert engine_process(node) == before

    def registries() -> list[str]:
        return list(node.ask("GET", "/info")["RegistryConfig"]["IndexConfigs"])

    eventually(10, lambda: "registry.test:5000" in registries(), "the reload")
    # What the inventory doesn't name any more goes from the file; the engine forgets it at its next start.
    done = play(cluster, "--limit", "node3")
    assert done.changed == 1
    assert "goes on running with its former insecure-registries" in done.output
    assert "registry.test" not in on(node, "cat", "/etc/docker/daemon.json")
    assert engine_process(node) == before


def test_an_even_number_of_managers_is_refused(cluster: Bed, tmp_path: Path) -> None:
    done = play(cluster, "-e", "verb=validate", "-e", '{"swarm_cluster_managers": ["node1", "node2"]}', "-vv")
    assert done.code == 0
    assert "2 hosts, an even number" in done.output


def test_health_names_the_node_that_is_down(cluster: Bed) -> None:
    assert play(cluster, "-e", "verb=health", "--limit", "node1").code == 0
    cluster.nodes[1].stop()
    try:
        eventually(
            60, lambda: play(cluster, "-e", "verb=health", "--limit", "node1").code != 0, "the node to be missed"
        )
        done = play(cluster, "-e", "verb=health", "--limit", "node1")
        assert "node2 is" in done.output
        # Two of three go on.
        assert play(cluster, "--limit", "node1,node3").code == 0
        on(cluster.nodes[0], "docker", "node", "ls")
    finally:
        cluster.nodes[1].start()
    # The node is back without its engine: the role starts it, and it is a member as before.
    done = play(cluster)
    assert done.code == 0, done.output
    assert done.changed == 1
    eventually(60, lambda: play(cluster, "-e", "verb=health", "--limit", "node1").code == 0, "the node to be back")


def test_a_node_leaves_when_asked_and_comes_back(cluster: Bed) -> None:
    assert play(cluster, "-e", "verb=absent").changed == 0
    done = play(cluster, "-e", "verb=absent", "-e", "swarm_cluster_remove=true", "--limit", "node3")
    assert done.code == 0, done.output
    assert set(labels(cluster)) == {"node1", "node2"}
    assert json.loads(on(cluster.nodes[2], "cat", "/etc/docker/daemon.json")) == {"max-concurrent-downloads": 5}
    alone = play(cluster, "--limit", "node3")
    assert alone.code != 0
    assert "a second Swarm would be started" in alone.output
    done = play(cluster)
    assert done.code == 0, done.output
    assert set(labels(cluster)) == {"node1", "node2", "node3"}
    assert play(cluster).changed == 0
