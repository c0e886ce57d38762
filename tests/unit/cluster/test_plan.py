# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from ansible_collections.mlops.onprem.plugins.filter.swarm import swarm_plan


def facts(state: str = "inactive", manager: bool = False, cluster: str = "", **variables: Any) -> dict[str, Any]:
    swarm = {
        "state": state,
        "node_id": "id" if state == "active" else "",
        "manager": manager,
        "cluster_id": cluster,
        "managers": ["192.0.2.1:2377"] if state == "active" else [],
    }
    return {"__host_engine": {"swarm": swarm}, **variables}


def manager(cluster: str = "c") -> dict[str, Any]:
    return facts("active", True, cluster)


def test_blank_hosts_the_first_manager_starts() -> None:
    hostvars = {name: facts() for name in ("w", "a", "b", "c")}
    plan = swarm_plan(["w", "a", "b", "c"], hostvars, ["a", "b", "c"])
    assert (plan["lead"], plan["start"], plan["joining"], plan["problem"]) == ("a", True, ["w", "b", "c"], "")
    assert [node["role"] for node in plan["nodes"]] == ["worker", "manager", "manager", "manager"]


def test_a_cluster_that_is_there() -> None:
    plan = swarm_plan(["a", "b"], {"a": manager(), "b": facts("active")}, ["a"])
    assert (plan["lead"], plan["start"], plan["joining"]) == ("a", False, [])


def test_a_first_manager_that_was_replaced_joins_the_others() -> None:
    plan = swarm_plan(["a", "b", "c"], {"a": facts(), "b": manager(), "c": manager()}, ["a", "b", "c"])
    assert (plan["lead"], plan["start"], plan["joining"]) == ("b", False, ["a"])
    assert plan["addresses"] == ["192.0.2.1:2377"]


def test_no_second_swarm_while_a_manager_is_out_of_reach() -> None:
    plan = swarm_plan(["b", "c"], {"b": facts(), "c": facts()}, ["a", "b", "c"])
    assert plan["lead"] == ""
    assert plan["joining"] == []
    assert "a is out of reach" in plan["problem"]


def test_a_known_worker_alone_is_fine_and_a_new_one_is_not() -> None:
    assert swarm_plan(["w"], {"w": facts("active")}, ["a"])["problem"] == ""
    plan = swarm_plan(["w", "x"], {"w": facts("active"), "x": facts()}, ["a"])
    assert plan["problem"].startswith("w: a worker of a Swarm none of whose managers")


def test_two_swarms_are_refused() -> None:
    plan = swarm_plan(["a", "b", "c"], {"a": manager("one"), "b": manager("two"), "c": facts()}, ["a", "b", "c"])
    assert "2 Swarms" in plan["problem"]
    assert plan["lead"] == ""


def test_what_was_joined_counts_more_than_what_was_seen_before() -> None:
    joined = {**facts(), "__swarm_cluster_joined": {"swarm": facts("active", True)["__host_engine"]["swarm"]}}
    skipped = {**manager(), "__swarm_cluster_joined": {"skipped": True, "changed": False}}
    plan = swarm_plan(["a", "b"], {"a": skipped, "b": joined}, ["a", "b"])
    assert plan["joining"] == []
    assert [node["id"] for node in plan["nodes"]] == ["id", "id"]


def test_labels_and_availability_come_from_the_host() -> None:
    hostvars = {
        "a": {**manager(), "swarm_cluster_node_labels": {"disk": "nvme"}, "swarm_cluster_availability": "drain"}
    }
    [node] = swarm_plan(["a"], hostvars, ["a"])["nodes"]
    assert node == {"id": "id", "host": "a", "role": "manager", "labels": {"disk": "nvme"}, "availability": "drain"}
    assert "availability" not in swarm_plan(["a"], {"a": manager()}, ["a"])["nodes"][0]
