# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._docker import nodes
from ansible_collections.mlops.onprem.plugins.module_utils._docker.api import version_tuple
from hypothesis import given
from hypothesis import strategies as st

LABELS = st.dictionaries(st.sampled_from(["disk", "gpu", "zone", "mlops.volume.data"]), st.sampled_from(["", "1", "a"]))


def live(role: str = "manager", labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "ID": "n1",
        "Spec": {"Role": role, "Availability": "active", "Labels": labels},
        "Status": {"State": "ready", "Addr": "192.0.2.1"},
        "ManagerStatus": {"Leader": True, "Reachability": "reachable", "Addr": "192.0.2.1:2377"},
        "Description": {"Hostname": "h"},
        **more,
    }


def test_a_new_node_gets_its_labels() -> None:
    wanted = nodes.WantedNode("n1", "node1", "manager", {"disk": "nvme"})
    spec = nodes.changed_spec(wanted, live())
    assert spec is not None
    assert spec["Labels"] == {"disk": "nvme", "mlops.host": "node1", "mlops.declared": "disk"}
    assert nodes.changed_spec(wanted, live(labels=spec["Labels"])) is None


def test_labels_of_others_stay_and_ours_go_when_undeclared() -> None:
    before = {"mlops.volume.data": "1", "disk": "nvme", "mlops.declared": "disk", "mlops.host": "node1"}
    spec = nodes.changed_spec(nodes.WantedNode("n1", "node1", "manager"), live(labels=before))
    assert spec is not None
    assert spec["Labels"] == {"mlops.volume.data": "1", "mlops.host": "node1"}


@given(LABELS, LABELS, LABELS)
def test_converging_ends_after_one_step(found: dict[str, str], first: dict[str, str], then: dict[str, str]) -> None:
    labels = nodes.wanted_labels(nodes.WantedNode("n1", "h", "worker", first), found)
    labels = nodes.wanted_labels(nodes.WantedNode("n1", "h", "worker", then), labels)
    assert labels == nodes.wanted_labels(nodes.WantedNode("n1", "h", "worker", then), labels)
    assert then.items() <= labels.items()
    assert {key for key in found if key not in first}.issubset(labels)


def test_a_drained_node_stays_drained_unless_told() -> None:
    node = live(labels={"mlops.host": "a"})
    node["Spec"]["Availability"] = "drain"
    assert nodes.changed_spec(nodes.WantedNode("n1", "a", "manager"), node) is None
    spec = nodes.changed_spec(nodes.WantedNode("n1", "a", "manager", {}, "active"), node)
    assert spec is not None
    assert spec["Availability"] == "active"


def test_a_worker_is_promoted() -> None:
    spec = nodes.changed_spec(nodes.WantedNode("n1", "a", "manager"), live("worker", {"mlops.host": "a"}))
    assert spec is not None
    assert spec["Role"] == "manager"


def test_a_leaders_address_may_be_found_in_its_managers_part() -> None:
    assert nodes.summary(live(Status={"State": "ready", "Addr": "0.0.0.0"}))["address"] == "192.0.2.1"


def test_problems_are_named_by_host() -> None:
    down = nodes.summary(live(labels={"mlops.host": "a"}, Status={"State": "down", "Message": "heartbeat failure"}))
    lost = nodes.summary(live(labels={"mlops.host": "b"}, ManagerStatus={"Reachability": "unreachable"}))
    worker = nodes.summary(live("worker", {"mlops.host": "c"}, ManagerStatus=None))
    assert nodes.problems([down, lost, worker], ["a", "b", "c", "d"]) == [
        "a is down: heartbeat failure",
        "b is a manager that the others don't reach (unreachable)",
        "d is not in the Swarm",
    ]


def test_an_address_towards_nobody() -> None:
    assert nodes.address_towards([]) == ""
    assert nodes.address_towards(["127.0.0.1", "name.invalid"]) == ""


@pytest.mark.parametrize(
    ("text", "version"), [("20.10.24+dfsg1", (20, 10, 24)), ("28.2.2", (28, 2, 2)), ("", ()), ("dev", ())]
)
def test_versions(text: str, version: tuple[int, ...]) -> None:
    assert version_tuple(text) == version
