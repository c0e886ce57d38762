# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Whether Pods and what runs them are as they should be: predicates on plain objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def condition(thing: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object's condition of this type; empty if it has none."""
    for found in (thing.get("status") or {}).get("conditions") or []:
        if found.get("type") == name:
            return dict(found)
    return {}


def holds(thing: Mapping[str, Any], name: str) -> bool:
    return condition(thing, name).get("status") == "True"


def terminating(thing: Mapping[str, Any]) -> bool:
    return bool(thing["metadata"].get("deletionTimestamp"))


def ready(pod: Mapping[str, Any]) -> bool:
    """Whether a Pod takes requests."""
    return holds(pod, "Ready") and not terminating(pod)


def ended(pod: Mapping[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def replicas(main: Mapping[str, Any]) -> int:
    if main["kind"] == "Job":
        return 1
    found = main["spec"].get("replicas")
    return 1 if found is None else int(found)


def settled(main: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> bool:
    """As many ready Pods of the present version as wanted, and no others. ``main``: a Deployment or StatefulSet."""
    status, wanted = main.get("status") or {}, replicas(main)
    if terminating(main) or not observed(main):
        return False
    counts = [int(status.get(name) or 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
    # What the controller knows may be older than the Pods are.
    return counts == [wanted] * 3 and sum(ready(pod) for pod in pods) == wanted


def current(main: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Whether a StatefulSet's Pod is of its present version."""
    revision = (pod["metadata"].get("labels") or {}).get("controller-revision-hash")
    return bool(revision == (main.get("status") or {}).get("updateRevision"))


def job_state(job: Mapping[str, Any]) -> str:
    """completed, failed or running."""
    if holds(job, "Complete"):
        return "completed"
    return "failed" if holds(job, "Failed") else "running"


def status_of(main: Mapping[str, Any] | None, pods: Iterable[Mapping[str, Any]]) -> str:
    """One word of Outcome's for what is there."""
    if main is None:
        return "absent"
    if main["kind"] == "Job":
        found = job_state(main)
        return "starting" if found == "running" else found
    return "healthy" if settled(main, pods) else "starting"


def restarts(pod: Mapping[str, Any]) -> int:
    """How often a Pod's container has ended."""
    count = 0
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        count += int(container.get("restartCount") or 0)
        count += "terminated" in (container.get("state") or {})
    return count


def lost(pod: Mapping[str, Any]) -> bool:
    """Whether its node doesn't answer: the Pod isn't ready then, though its containers were."""
    found = condition(pod, "Ready").get("status")
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    return found == "Unknown" or (
        found == "False" and bool(containers) and all(item.get("ready") for item in containers)
    )


def started(pod: Mapping[str, Any]) -> bool:
    """Whether its container runs or has run: before that its image may be on its way."""
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        state = container.get("state") or {}
        if "running" in state or "terminated" in state or int(container.get("restartCount") or 0):
            return True
    return False


def observed(main: Mapping[str, Any]) -> bool:
    """Whether its controller has seen what it is to be now."""
    status = main.get("status") or {}
    return int(status.get("observedGeneration") or 0) >= int(main["metadata"].get("generation") or 0)


def waiting(pod: Mapping[str, Any]) -> tuple[str, str]:
    """Why a Pod's container doesn't run: the kubelet's reason and message; empty if it does."""
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        found = (container.get("state") or {}).get("waiting")
        if found:
            return str(found.get("reason") or ""), str(found.get("message") or "")
    return "", ""


def exit_state(pod: Mapping[str, Any]) -> dict[str, Any]:
    """How a Pod's container ended last; empty if it never has."""
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        for name in ("state", "lastState"):
            found = (container.get(name) or {}).get("terminated")
            if found:
                return dict(found)
    return {}


def unschedulable(pod: Mapping[str, Any]) -> str:
    """The scheduler's reason for which a Pod has no node."""
    found = condition(pod, "PodScheduled")
    if found.get("status") == "False" and not (pod.get("spec") or {}).get("nodeName"):
        return str(found.get("message") or found.get("reason") or "")
    return ""
