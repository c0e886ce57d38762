# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Why a workload isn't healthy, from what its Pods, its controller and their events say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .state import condition, ended, exit_state, holds, lost, ready, terminating, unschedulable, waiting

PULLING = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable")
HOPELESS = ("InvalidImageName", "ErrImageNeverPull")  # no second try will be better
MISSING = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
#: Events that say why something goes wrong; the others only tell what happens.
TELLING = (
    "Unhealthy",
    "FailedMount",
    "FailedAttachVolume",
    "FailedCreatePodSandBox",
    "FailedCreate",
    "FailedScheduling",
    "ProvisioningFailed",
    "Evicted",
    "NodeNotReady",
    "TaintManagerEviction",
)
# What says nothing before the point.
_WAY_TO_IMAGE = re.compile(
    r'(?:ErrImagePull: |Back-off pulling image "[^"]*"(?:: )?'
    r'|failed to (?:pull image|pull and unpack image|resolve reference) "[^"]*": )',
    re.IGNORECASE,
)
_WAY_TO_START = re.compile(r"^failed to create .*unable to start container process: ")
_AFTER_NODES = re.compile(r",?(?: no new claims to deallocate,)? preemption: .*$")
_DIGEST = re.compile(r"sha256:([0-9a-f]{12})[0-9a-f]{52}")
LONGEST = 400


def pod_reason(pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]] = ()) -> str:
    """One Pod's, in a few words. ``events`` are its own, oldest first."""
    status = pod.get("status") or {}
    told = telling(events)
    why, message = waiting(pod)
    if why in PULLING:
        return f"its image can't be pulled: {_pull_message(message or why, events)}"
    found = unschedulable(pod)
    if found:
        return f"no node takes it: {_cut(_AFTER_NODES.sub('', found))}"
    if why in MISSING:
        return f"its container can't be made: {message or why}"
    exit_found = exit_state(pod)
    if exit_found and (why or ended(pod) or not ready(pod)):
        return _joined(_exit(exit_found), told if _killed(exit_found) else "")
    if status.get("phase") == "Failed":
        return _joined(str(status.get("reason") or "its Pod failed"), str(status.get("message") or ""))
    if terminating(pod):
        return f"its Pod on {node(pod)} doesn't end" + (": the node doesn't answer" if lost(pod) else "")
    if lost(pod):
        return f"its node {node(pod)} doesn't answer"
    if told:
        return told
    if status.get("phase") == "Pending" and not (pod.get("spec") or {}).get("nodeName"):
        return "no scheduler has looked at its Pod yet"
    if not holds(pod, "Ready") and status.get("phase") == "Running":
        return "it runs, but isn't ready"
    return f"its Pod is {str(status.get('phase') or 'unknown').lower()}"


def main_reason(main: Mapping[str, Any], events: Sequence[Mapping[str, Any]] = ()) -> str:
    """Why there are no Pods at all."""
    failed = condition(main, "ReplicaFailure")
    if failed.get("status") == "True":
        return refused(str(failed.get("message") or failed.get("reason")))
    job = condition(main, "Failed")
    if main["kind"] == "Job" and job.get("status") == "True":
        return f"{job.get('message') or job.get('reason')}"
    found = [event for event in events if event.get("reason") == "FailedCreate"]
    if found:
        return refused(str(found[-1].get("message") or ""))
    return "it has no Pod"


def refused(message: str) -> str:
    """A Pod that the API server didn't let in."""
    text = " ".join(message.split())
    text = re.sub(r"^create Pod \S+ in StatefulSet \S+ failed error: ", "", text)
    text = re.sub(r"^Error creating: ", "", text)
    text = re.sub(r'^pods "[^"]*" is forbidden: ', "", text)
    if "exceeded quota" in text:
        return f"a quota doesn't allow its Pod: {text}"
    if "violates PodSecurity" in text:
        return f"Pod Security refuses its Pod: {text}"
    return f"its Pod is refused: {text}"


def telling(events: Sequence[Mapping[str, Any]]) -> str:
    """The last event that says why."""
    for event in reversed(events):
        if event.get("reason") in TELLING:
            return _cut(str(event.get("message") or event["reason"]))
    return ""


def node(pod: Mapping[str, Any]) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "no node")


def _pull_message(message: str, events: Sequence[Mapping[str, Any]]) -> str:
    """The registry's own words. While the kubelet waits for its next try they may be in an event alone."""
    told = [str(event.get("message")) for event in events if event.get("reason") == "Failed"]
    pulls = [text for text in told if text.startswith("Failed to pull")]
    text = pulls[-1] if pulls and message.startswith("Back-off") else message
    return _cut(_WAY_TO_IMAGE.sub("", " ".join(text.split())) or message)


def _exit(state: Mapping[str, Any]) -> str:
    code, why = state.get("exitCode"), str(state.get("reason") or "")
    if why == "OOMKilled":
        return f"its container was killed: it wanted more memory than its limit (exit code {code})"
    text = f"its container exited with code {code}"
    if state.get("message"):
        text += f": {_cut(_WAY_TO_START.sub('', str(state['message'])))}"
    return text


def _killed(state: Mapping[str, Any]) -> bool:
    """Whether somebody else may have ended it: a probe, mostly."""
    return state.get("exitCode") in (0, 137, 143) and state.get("reason") != "OOMKilled"


def _joined(first: str, second: str) -> str:
    return f"{first} ({second})" if second else first


def _cut(text: str) -> str:
    words = _DIGEST.sub(r"sha256:\1", " ".join(text.split()))
    return words if len(words) <= LONGEST else words[: LONGEST - 3] + "..."
