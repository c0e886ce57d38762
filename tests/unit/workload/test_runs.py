# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs: what is asked for (golden files, MLOPS_GOLDEN=write makes them anew), and what the clusters' words mean."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._workload import Run
from ansible_collections.mlops.onprem.plugins.module_utils._workload.base import log_lines
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes import runs as on_kubernetes
from ansible_collections.mlops.onprem.plugins.module_utils._workload.swarm import runs as on_swarm

from . import test_kubernetes_render as kubernetes
from . import test_render as swarm
from .cases import RUN
from .recorded import RECORDED

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "workload"
NOW = "2026-11-30T01:02:03.456789012Z"


def compare(file: Path, found: Any) -> None:
    if os.environ.get("MLOPS_GOLDEN") == "write":
        file.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    assert found == json.loads(file.read_text())


def test_golden_of_swarm() -> None:
    run = on_swarm.as_run(swarm.rendered(RUN))
    assert run.name == run.spec["Name"] == "mlops_run-0a1b"
    assert run.spec["Mode"] == {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}}
    assert run.spec["TaskTemplate"]["RestartPolicy"] == {"Condition": "none"}
    compare(GOLDEN / "run.json", run.spec)


def test_golden_of_kubernetes() -> None:
    run = on_kubernetes.as_run(kubernetes.rendered(RUN))
    assert run.main["metadata"]["name"] == "run-0a1b" and run.main["spec"]["backoffLimit"] == 0
    assert kubernetes.breaks(run.manifests, kubernetes.SITE) == []
    brought = {kind.name for kind in on_kubernetes.BROUGHT}
    assert {thing["kind"] for thing in run.manifests[:-1]} <= brought
    compare(GOLDEN / "kubernetes" / "run.json", run.manifests)


@pytest.mark.parametrize("rendered", [swarm.rendered, kubernetes.rendered])
def test_no_secret_is_in_what_an_inspection_shows(rendered: Any) -> None:
    found = rendered(RUN)
    shown = [found.spec] if hasattr(found, "spec") else [item for item in found.manifests if item["kind"] != "Secret"]
    assert "a value of a secret" not in json.dumps(shown)


# Swarm


def task(state: str, *, node: str = "n1", created: str = "1", **status: Any) -> dict[str, Any]:
    return {
        "ID": f"task{created}",
        "NodeID": node,
        "CreatedAt": created,
        "Status": {"State": state, "Timestamp": NOW, **status},
    }


NODES = {
    "n1": {"ID": "n1", "Status": {"State": "ready"}, "Description": {"Hostname": "one"}},
    "n2": {"ID": "n2", "Status": {"State": "down"}, "Description": {"Hostname": "two"}},
    "n3": {"ID": "n3", "Status": {"State": "unknown"}, "Description": {"Hostname": "three"}},
}
NO_NODE = "no suitable node (insufficient resources on 1 node)"


def of_swarm(*tasks: dict[str, Any]) -> Run:
    spec = on_swarm.as_run(swarm.rendered(RUN)).spec
    return on_swarm.run_of({"ID": "s", "CreatedAt": "2026-11-30T01:00:00Z", "Spec": spec}, tasks, NODES)


@pytest.mark.parametrize(
    ("found", "state", "reason", "code"),
    [
        (task("pending", node="", Err=NO_NODE), "waiting", NO_NODE, None),
        (task("new", node="", Message="created"), "waiting", "created", None),
        (task("preparing"), "starting", "", None),
        (task("running"), "running", "", None),
        (task("running", node="n3"), "running", "", None),
        (task("running", node="n2"), "lost", "its node two doesn't answer", None),
        (task("running", node="gone"), "lost", "its node gone doesn't answer", None),
        (task("orphaned", node="n2"), "lost", "its node two doesn't answer", None),
        (task("complete", node="n2", ContainerStatus={"ExitCode": 0}), "succeeded", "", 0),
        (
            task("failed", Err="task: non-zero exit (3)", ContainerStatus={"ExitCode": 3}),
            "failed",
            "task: non-zero exit (3)",
            3,
        ),
        (
            task("failed", Err="task: non-zero exit (137)", ContainerStatus={"ExitCode": 137}),
            "failed",
            "more memory",
            137,
        ),
        (task("rejected", Err="No such image: x", ContainerStatus={"ExitCode": 0}), "failed", "No such image: x", None),
    ],
)
def test_what_a_task_says(found: dict[str, Any], state: str, reason: str, code: int | None) -> None:
    run = of_swarm(found)
    assert (run.state, run.exit_code) == (state, code) and reason in run.reason
    assert run.ended is (state in ("succeeded", "failed", "lost"))
    assert (run.name, run.set_name, run.labels) == ("run-0a1b", "platform", {"prefect.flow-run": "0a1b"})


def test_the_first_task_is_the_run() -> None:
    assert of_swarm().state == "waiting"
    assert of_swarm(task("running", node="n2"), task("running", created="2")).state == "lost"
    assert of_swarm(task("failed", Err="x"), task("running", created="2")).state == "failed"


def test_one_that_is_told_to_stop_has_ended() -> None:
    spec = on_swarm.as_run(swarm.rendered(RUN)).spec | {"Mode": {"ReplicatedJob": on_swarm.STOPPED}}
    found = on_swarm.run_of({"ID": "s", "CreatedAt": NOW, "Spec": spec}, [], NODES)
    assert found.ended and found.reason == "it was told to stop"


def test_a_position_is_a_time_of_the_engine_s() -> None:
    assert on_swarm.seconds("") == ""
    assert on_swarm.seconds("2026-11-30T01:02:03.456789012Z") == "1796000523.456789012"
    assert on_swarm.seconds("2026-11-30T01:02:03.5Z") == "1796000523.500000000"


# Kubernetes


def of_kubernetes(pod: dict[str, Any] | None, events: Any = (), **conditions: str) -> Run:
    job = copy.deepcopy(on_kubernetes.as_run(kubernetes.rendered(RUN)).main)
    job["metadata"]["creationTimestamp"] = "2026-11-30T01:00:00Z"
    found = [
        {"type": name, "status": "True", "reason": reason, "message": reason} for name, reason in conditions.items()
    ]
    job["status"] = {"conditions": found}
    return on_kubernetes.run_of(job, [pod] if pod else [], events)


@pytest.mark.parametrize(
    ("case", "state", "reason", "code"),
    [
        ("no_node", "waiting", "no node takes it: 0/1 nodes are available", None),
        ("too_big", "waiting", "1 Insufficient cpu", None),
        ("no_image", "starting", "its image can't be pulled", None),
        ("fine", "running", "", None),
        ("job_failed", "failed", "its container exited with code 4", 4),
        ("memory", "failed", "it wanted more memory than its limit", 137),
    ],
)
def test_what_a_pod_says(case: str, state: str, reason: str, code: int | None) -> None:
    conditions = {"Failed": "BackoffLimitExceeded"} if state == "failed" else {}
    run = of_kubernetes(RECORDED["pods"][case]["pod"], **conditions)
    assert (run.state, run.exit_code) == (state, code), run
    assert reason in run.reason
    assert run.labels == {"prefect.flow-run": "0a1b"}


def test_what_has_lost_its_node_is_lost() -> None:
    pod = copy.deepcopy(RECORDED["pods"]["fine"]["pod"])
    for item in pod["status"]["conditions"]:
        item["status"] = "Unknown" if item["type"] == "Ready" else item["status"]
    assert of_kubernetes(pod).state == "lost"
    pod["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True", "message": "its node is drained"})
    assert of_kubernetes(pod).reason == "its node is drained"
    assert of_kubernetes(None, Failed="PodFailurePolicy").state == "lost"


def test_a_job_without_a_pod_says_why() -> None:
    refused = {"reason": "FailedCreate", "message": 'Error creating: pods "x" is forbidden: exceeded quota: small'}
    run = of_kubernetes(None, [refused])
    assert run.state == "waiting" and "a quota doesn't allow its Pod" in run.reason
    assert of_kubernetes(None, Complete="").state == "succeeded"


# Logs


def test_a_log_is_read_on_from_a_position() -> None:
    stamps = [f"2026-11-30T01:02:03.00000000{number}Z" for number in range(4)]
    text = "\n".join(f"{stamp} line {number}" for number, stamp in enumerate(stamps)) + "\nthe rest of it"
    assert [line.text for line in log_lines(text, "", 2, last=True)] == ["line 3", "the rest of it"]
    first = log_lines(text, stamps[0], 2, last=False)
    assert [line.text for line in first] == ["line 1", "line 2"]
    assert [line.text for line in log_lines(text, first[-1].position, 9, last=False)] == ["line 3", "the rest of it"]
    assert log_lines(text, stamps[3], 9, last=False) == []
