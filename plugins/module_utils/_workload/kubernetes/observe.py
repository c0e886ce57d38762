# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Live objects as what a backend tells of its workloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..base import Observed, ObservedTask
from ..model import ZONES
from ..rendering import parse_label
from .live import Snapshot, annotation, label
from .reason import node, pod_reason
from .site import IMAGE, KIND, LABELS, METRICS, ROUTES, SET, WORKLOAD, ZONE
from .state import condition, ended, exit_state, lost, ready, replicas, status_of, terminating, waiting


def observed(snapshot: Snapshot, set_name: str | None) -> list[Observed]:
    """By set and name. While a workload changes its kind or its namespace it has two controllers: the newer one counts,
    with the Pods of both."""
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    pods: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for main in sorted(snapshot.controllers().values(), key=lambda thing: str(thing["metadata"]["creationTimestamp"])):
        owner, name = str(label(main, SET)), str(label(main, WORKLOAD))
        if set_name is None or owner == set_name:
            newest[owner, name] = main
            found = snapshot.pods_of(main)
            # A job that was replaced has nothing more to say.
            pods[owner, name] = found if main["kind"] == "Job" else [*pods.get((owner, name), []), *found]
    return [_observed(newest[key], pods[key], snapshot) for key in sorted(newest)]


def _observed(main: Mapping[str, Any], pods: list[dict[str, Any]], snapshot: Snapshot) -> Observed:
    container = main["spec"]["template"]["spec"]["containers"][0]
    listed = [pod for pod in pods if not ended(pod) or main["kind"] == "Job"]
    return Observed(
        name=str(label(main, WORKLOAD)),
        set_name=str(label(main, SET)),
        kind=label(main, KIND) or "service",
        image=annotation(main, IMAGE) or str(container.get("image")),
        zone=label(main, ZONE),
        replicas=replicas(main),
        routes=parse_label(annotation(main, ROUTES)) or [],
        metrics=parse_label(annotation(main, METRICS)),
        labels=parse_label(annotation(main, LABELS)) or {},
        tasks=[_task(pod) for pod in listed],
        status=status_of(main, snapshot.pods_of(main)),
    )


def _task(pod: Mapping[str, Any]) -> ObservedTask:
    status = pod.get("status") or {}
    ip = status.get("podIP")
    containers = status.get("containerStatuses") or []
    found = str(containers[0].get("containerID") or "") if containers else ""
    healthy = ready(pod)
    troubled = not healthy and not terminating(pod) and status.get("phase") != "Succeeded"
    telling = troubled and (
        lost(pod) or waiting(pod)[0] not in ("", "ContainerCreating", "PodInitializing") or exit_state(pod)
    )
    return ObservedTask(
        id=str(pod["metadata"]["uid"]),
        node=node(pod),
        state=_state(pod),
        healthy=healthy,
        # One flat network: whoever may reach a Pod reaches it at one address.
        addresses=dict.fromkeys(ZONES, str(ip)) if ip else {},
        error=pod_reason(pod) if telling or (troubled and status.get("phase") == "Pending") else None,
        since=str(condition(pod, "Ready").get("lastTransitionTime") or pod["metadata"]["creationTimestamp"]),
        container=found.rpartition("//")[2] or None,
    )


def _state(pod: Mapping[str, Any]) -> str:
    """In Swarm's words where it has one."""
    if terminating(pod):
        return "shutdown"
    phase = str((pod.get("status") or {}).get("phase") or "Pending")
    if phase == "Pending":
        return "preparing" if (pod.get("spec") or {}).get("nodeName") else "pending"
    if phase == "Running" and not ready(pod):
        return "starting"
    return {"Succeeded": "complete"}.get(phase, phase.lower())
