# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Comparing with what the engine answers, and judging what it says of tasks."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._workload import Workload
from ansible_collections.mlops.onprem.plugins.module_utils._workload.engine import demultiplex
from ansible_collections.mlops.onprem.plugins.module_utils._workload.swarm.live import (
    comparable,
    differences,
    job_state,
    meets,
    same_task,
    settled,
)
from ansible_collections.mlops.onprem.plugins.module_utils._workload.swarm.render import render
from hypothesis import given, settings

from .cases import CASES
from .test_model import declarations
from .test_render import SITE


def as_the_engine_tells(spec: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    """The spec as an engine of 20.10 returns it: ids, defaults of its own, no empty lists, another order."""
    live = copy.deepcopy(spec)
    template = live["TaskTemplate"]
    for number, network in enumerate(template["Networks"]):
        ids[f"id{number}"] = network["Target"]
        network["Target"] = f"id{number}"
    container = template["ContainerSpec"]
    container["Env"] = container["Env"][::-1]
    for kind in ("Configs", "Secrets"):
        container[kind] = [{**item, f"{kind[:-1]}ID": "x"} for item in container[kind]][::-1]
    container["Privileges"] = {"CredentialSpec": None, "SELinuxContext": None}
    container["Isolation"] = "default"
    container["DNSConfig"] = {}
    live["TaskTemplate"]["ContainerSpec"] = {key: value for key, value in container.items() if value not in ([], "")}
    template["RestartPolicy"]["MaxAttempts"] = 0
    template |= {"ForceUpdate": 3, "Runtime": "container"}
    if "UpdateConfig" in live:
        live["UpdateConfig"]["MaxFailureRatio"] = 0
    return json.loads(json.dumps(live))


@given(declarations())
@settings(max_examples=100)
def test_what_was_sent_compares_equal(data: dict[str, Any]) -> None:
    problems: list[str] = []
    found = render(Workload.from_dict(data), SITE, problems)
    ids: dict[str, str] = {}
    assert differences(comparable(as_the_engine_tells(found.spec, ids), ids), comparable(found.spec)) == []


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("TaskTemplate.ContainerSpec.Image", "other", "Image"),
        ("TaskTemplate.ContainerSpec.Env", ["A=1"], "Env.A"),
        ("TaskTemplate.ContainerSpec.ReadOnly", False, "ReadOnly"),
        ("TaskTemplate.ContainerSpec.User", None, "User"),
        ("TaskTemplate.ContainerSpec.CapabilityDrop", None, "CapabilityDrop"),
        ("TaskTemplate.ContainerSpec.Dir", "/x", "Dir"),
        ("TaskTemplate.ContainerSpec.Init", True, "Init"),
        ("TaskTemplate.ContainerSpec.Hosts", ["1.2.3.4 x"], "Hosts"),
        ("TaskTemplate.ContainerSpec.Mounts", [], "Mounts./tmp"),
        ("TaskTemplate.Resources.Limits.MemoryBytes", 1, "Resources.Limits.MemoryBytes"),
        ("TaskTemplate.Placement.Constraints", ["node.id==x"], "Placement.Constraints"),
        ("TaskTemplate.Networks", [], "Networks.mlops_edge"),
        ("Mode.Replicated.Replicas", 0, "Mode.Replicated.Replicas"),
        ("EndpointSpec.Mode", "vip", "EndpointSpec.Mode"),
        ("Labels.mlops.set", "other", "Labels.mlops.set"),
        ("UpdateConfig.Order", "stop-first", "UpdateConfig.Order"),
    ],
)
def test_a_change_by_hand_is_seen(path: str, value: Any, told: str) -> None:
    spec = render(Workload.from_dict(CASES["server"]), SITE, []).spec
    live = as_the_engine_tells(spec, ids := {})
    *parents, last = path.split(".", 1) if path.startswith("Labels") else path.split(".")
    place = live
    for part in parents:
        place = place[part]
    place[last] = value
    assert told in differences(comparable(live, ids), comparable(spec))


def service(replicas: int = 1, update: str | None = None, check: bool = True) -> dict[str, Any]:
    template: dict[str, Any] = {"ContainerSpec": {"Image": "new"}, "Runtime": "container"}
    if check:
        template["ContainerSpec"]["Healthcheck"] = {"Test": ["CMD", "true"]}
    return {
        "Spec": {"TaskTemplate": template, "Mode": {"Replicated": {"Replicas": replicas}}},
        **({"UpdateStatus": {"State": update}} if update else {}),
    }


def task(state: str = "running", desired: str = "running", image: str = "new", check: bool = True) -> dict[str, Any]:
    container: dict[str, Any] = {"Image": image}
    if check:
        container["Healthcheck"] = {"Test": ["CMD", "true"]}
    return {
        "ID": state,
        "Spec": {"ContainerSpec": container, "Placement": {"Constraints": ["x"]}},
        "DesiredState": desired,
        "Status": {"State": state, "Timestamp": "2020-01-01T00:00:00.5Z"},
    }


@pytest.mark.parametrize(
    ("found", "tasks", "expected"),
    [
        (service(), [task()], True),
        (service(), [task("starting")], False),
        (service(), [task(image="old")], False),
        (service(), [task(), task(image="old")], False),
        (service(), [task(), task("shutdown", "shutdown", "old")], True),
        (service(update="updating"), [task()], False),
        (service(update="rollback_started"), [task()], False),
        (service(update="completed"), [task()], True),
        (service(update="rollback_completed"), [task()], True),
        (service(2), [task()], False),
        (service(2), [task(), task()], True),
        (service(0), [], True),
        (service(0), [task()], False),
        (service(check=False), [task(check=False)], True),
    ],
)
def test_settled(found: dict[str, Any], tasks: list[dict[str, Any]], expected: bool) -> None:
    assert settled(found, tasks) is expected


def test_without_a_check_it_has_to_last() -> None:
    fresh = task(check=False)
    fresh["Status"]["Timestamp"] = "2999-01-01T00:00:00Z"
    assert not settled(service(check=False), [fresh])


def test_changed_constraints_that_hold_replace_no_task() -> None:
    assert same_task(task(), service()) and not same_task(task(image="old"), service())


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], "running"),
        (["pending"], "running"),
        (["failed"], "failed"),
        (["rejected"], "failed"),
        (["running", "failed"], "running"),
        (["complete"], "completed"),
        (["failed", "complete"], "completed"),
    ],
)
def test_job_state(states: list[str], expected: str) -> None:
    assert job_state([task(state) for state in states]) == expected


def test_constraints_are_met_by_labels_and_role() -> None:
    node = {"Spec": {"Labels": {"disk": "fast", "mlops.pin.a.b": "true"}, "Role": "manager"}}
    assert meets(node, ["node.labels.disk==fast", "node.role==manager", "node.labels.mlops.pin.a.b==true"])
    assert not meets(node, ["node.labels.disk==slow"]) and not meets(node, ["node.labels.other==x"])


def test_log_frames() -> None:
    frame = b"\1\0\0\0\0\0\0\6hello\n" + b"\2\0\0\0\0\0\0\7\xffworld"
    assert demultiplex(frame) == ["hello", "\ufffdworld"]
    assert demultiplex(b"plain\ntext") == ["plain", "text"]
