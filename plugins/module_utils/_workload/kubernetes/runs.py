# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Jobs that are started and not awaited: what is asked for, and what they and their Pods say became of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..base import Run
from ..rendering import parse_label
from .kinds import CONFIG_MAP, POLICY, SECRET, SERVICE_ACCOUNT
from .live import annotation, label
from .reason import main_reason, node, pod_reason
from .render import KubernetesRendered
from .site import LABELS, SET, WORKLOAD
from .state import condition, exit_state, holds, lost, started, waiting

#: What a run brings beside its Job.
BROUGHT = (POLICY, CONFIG_MAP, SECRET, SERVICE_ACCOUNT)
DISRUPTED = "DisruptionTarget"
# Whoever is evicted, or loses its node, has failed: a run is not started a second time. (A job of a set is.)
NEVER_AGAIN = {
    "backoffLimit": 0,
    "podFailurePolicy": {"rules": [{"action": "FailJob", "onPodConditions": [{"type": DISRUPTED, "status": "True"}]}]},
}


def as_run(rendered: KubernetesRendered) -> KubernetesRendered:
    """A Job by its own name, without a hash: there is one run of a name, whatever it was to do."""
    job = rendered.main
    run = {
        **job,
        "metadata": {**job["metadata"], "name": rendered.workload.name},
        "spec": {**job["spec"], **NEVER_AGAIN},
    }
    return dataclasses.replace(rendered, manifests=[*rendered.manifests[:-1], run])


def run_of(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]] = ()) -> Run:
    """``pods``: the Job's, newest first. ``events``: the Job's, oldest first, where it has no Pod."""
    created = str(job["metadata"].get("creationTimestamp") or "")
    about: dict[str, Any] = {
        "name": str(label(job, WORKLOAD)),
        "set_name": str(label(job, SET)),
        "created": created,
        "since": created,
        "labels": parse_label(annotation(job, LABELS)) or {},
    }
    pod = pods[-1] if pods else None
    for name in ("Complete", "Failed"):
        about["since"] = str(condition(job, name).get("lastTransitionTime") or about["since"])
    if pod is None:
        if holds(job, "Complete"):
            return Run(**about, state="succeeded", exit_code=0)
        reason = main_reason(job, events)
        if holds(job, "Failed"):
            disrupted = condition(job, "Failed").get("reason") == "PodFailurePolicy"
            return Run(**about, state="lost" if disrupted else "failed", reason=reason)
        return Run(**about, state="waiting", reason=reason)
    found = exit_state(pod)
    phase = str((pod.get("status") or {}).get("phase") or "")
    about["node"] = node(pod) if (pod.get("spec") or {}).get("nodeName") else ""
    about["since"] = str(found.get("finishedAt") or (_begun(pod) if phase == "Running" else "") or about["since"])
    if holds(job, "Complete") or phase == "Succeeded":
        return Run(**about, state="succeeded", exit_code=0)
    if holds(pod, DISRUPTED):
        why = condition(pod, DISRUPTED)
        return Run(**about, state="lost", reason=str(why.get("message") or why.get("reason") or "its node was taken"))
    if holds(job, "Failed") or phase == "Failed":
        code = found.get("exitCode")
        reason = pod_reason(pod) if found or phase == "Failed" else main_reason(job, events)
        return Run(**about, state="failed", reason=reason, exit_code=None if code is None else int(code))
    if lost(pod):
        return Run(**about, state="lost", reason=f"its node {node(pod)} doesn't answer")
    if not about["node"]:
        return Run(**about, state="waiting", reason=pod_reason(pod))
    if started(pod):
        return Run(**about, state="running")
    why_not = waiting(pod)[0]
    return Run(
        **about,
        state="starting",
        reason=pod_reason(pod) if why_not not in ("", "ContainerCreating", "PodInitializing") else "",
    )


def _begun(pod: Mapping[str, Any]) -> str:
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        running = (container.get("state") or {}).get("running")
        if running:
            return str(running.get("startedAt") or "")
    return ""
