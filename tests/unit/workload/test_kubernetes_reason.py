# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Reasons, from Pods and events as an API server (1.34) told them: recorded/kubernetes.json."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.reason import main_reason, pod_reason
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.state import (
    ready,
    restarts,
    settled,
    started,
    status_of,
)

from .recorded import RECORDED

REASONS = {
    "bad_name": "its image can't be pulled: Failed to apply default image tag",
    "crash": "its container exited with code 3",
    "deaf": "its container exited with code 137 (Startup probe failed: Get",
    "job_failed": "its container exited with code 4",
    "memory": "its container was killed: it wanted more memory than its limit (exit code 137)",
    "no_claim": 'no node takes it: 0/1 nodes are available: persistentvolumeclaim "nope" not found',
    "no_command": 'its container exited with code 128: exec: "/none": stat /none: no such file or directory',
    "no_image": "its image can't be pulled: failed to do request: Head",
    "no_key": 'its container can\'t be made: secret "nope" not found',
    "no_node": "no node takes it: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
    "no_secret": 'MountVolume.SetUp failed for volume "s" : secret "nope" not found',
    "not_alive": "its container exited with code 137 (Liveness probe failed: HTTP probe failed with statuscode: 404)",
    "not_ready": "Readiness probe failed: HTTP probe failed with statuscode: 404",
    "too_big": "no node takes it: 0/1 nodes are available: 1 Insufficient cpu.",
}


@pytest.mark.parametrize("case", REASONS)
def test_a_pod_says_why(case: str) -> None:
    found = RECORDED["pods"][case]
    assert pod_reason(found["pod"], found["events"]).startswith(REASONS[case])
    assert not ready(found["pod"])


def test_without_events_there_is_something_to_say() -> None:
    told = {case: pod_reason(RECORDED["pods"][case]["pod"]) for case in REASONS}
    assert told["not_ready"] == "it runs, but isn't ready" and told["no_secret"] == "its Pod is pending"
    assert all(told.values())


def test_who_is_well() -> None:
    fine = RECORDED["pods"]["fine"]["pod"]
    assert ready(fine) and started(fine) and restarts(fine) == 0
    assert not started(RECORDED["pods"]["no_image"]["pod"]) and not started(RECORDED["pods"]["no_node"]["pod"])
    assert restarts(RECORDED["pods"]["crash"]["pod"]) >= 2 and started(RECORDED["pods"]["crash"]["pod"])
    going = copy.deepcopy(fine)
    going["metadata"]["deletionTimestamp"] = "2026-11-24T03:00:00Z"
    assert not ready(going) and pod_reason(going).endswith("doesn't end")
    lost = copy.deepcopy(fine)
    for condition in lost["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition.update(status="False")
    assert pod_reason(lost).startswith("its node") and pod_reason(lost).endswith("doesn't answer")
    lost["metadata"]["deletionTimestamp"] = "2026-11-24T03:00:00Z"
    assert pod_reason(lost).endswith("doesn't end: the node doesn't answer")


def test_no_pod_at_all() -> None:
    found = RECORDED["mains"]["stateful_set_refused"]
    told = main_reason({**found["thing"], "kind": "StatefulSet"}, found["events"])
    assert told == (
        "a quota doesn't allow its Pod: exceeded quota: small, requested: pods=1, used: pods=4, limited: pods=1"
    )
    message = 'pods "web-1" is forbidden: violates PodSecurity "restricted:latest": hostPort'
    conditions = [{"type": "ReplicaFailure", "status": "True", "message": message}]
    told = main_reason({"kind": "Deployment", "status": {"conditions": conditions}})
    assert told.startswith("Pod Security refuses its Pod: violates PodSecurity")


def deployment(**status: Any) -> dict[str, Any]:
    counts = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}
    return {
        "kind": "Deployment",
        "metadata": {"generation": 2},
        "spec": {"replicas": 1},
        "status": {**counts, **status},
    }


def test_settled() -> None:
    fine, crash = RECORDED["pods"]["fine"]["pod"], RECORDED["pods"]["crash"]["pod"]
    assert settled(deployment(), [fine]) and status_of(deployment(), [fine]) == "healthy"
    for status in ({"observedGeneration": 1}, {"updatedReplicas": 0}, {"replicas": 2}, {"readyReplicas": None}):
        assert not settled(deployment(**status), [fine])
    assert not settled(deployment(), []), "the controller may know less than the Pods say"
    assert not settled(deployment(), [crash]) and status_of(deployment(), [crash]) == "starting"
    none = {**deployment(replicas=None, updatedReplicas=None, readyReplicas=None), "spec": {"replicas": 0}}
    assert settled(none, [])
    assert status_of(None, []) == "absent"
