# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Asks running tasks whether they are ready: in the container on this node, by a short job from any other."""

from __future__ import annotations

import shlex
import time
import uuid
from collections.abc import Mapping
from typing import Any

from ..engine import Engine, EngineError
from .live import job_state
from .render import KIND, NAMESPACE, SECOND, SET, WORKLOAD, Rendered, Site, probe_command

ASK = "ask"


def ask(engine: Engine, site: Site, rendered: Rendered, tasks: list[dict[str, Any]], node_id: str) -> str | None:
    """None when every task is ready; otherwise why not."""
    probe = rendered.readiness
    if probe is None:
        return None
    remote = []
    for task in tasks:
        container = (task["Status"].get("ContainerStatus") or {}).get("ContainerID")
        if task.get("NodeID") != node_id or not container:
            remote.append(task)
            continue
        try:
            code, output = engine.exec(container, probe_command(probe, rendered.workload), timeout=probe.timeout + 2)
        except EngineError as error:
            return str(error)
        if code != 0:
            return f"the readiness probe ends with {code} {' '.join(output.split())[:300]}".rstrip()
    return _ask_remote(engine, site, rendered, remote) if remote else None


def _ask_remote(engine: Engine, site: Site, rendered: Rendered, tasks: list[dict[str, Any]]) -> str | None:
    probe = rendered.readiness
    if probe is None or probe.command:
        return "the readiness probe is a command, which can't be run on another node"
    commands = []
    for task in tasks:
        address = next(iter(addresses(task, site.namespace).values()), None)
        if address is None:
            return "its task has no address yet"
        commands.append(shlex.join(probe_command(probe, rendered.workload, address)))
    spec = ask_service(site, rendered, " && ".join(commands))
    created = engine.post("/services/create", spec, auth=True)
    try:
        until = time.monotonic() + 30 + probe.timeout * len(tasks)
        while time.monotonic() < until:
            found = engine.get("/tasks", filters={"service": [created["ID"]]})
            state = job_state(found)
            if state == "completed":
                return None
            if state == "failed":
                return "the readiness probe fails from another node"
            time.sleep(0.3)
        return "the readiness probe found no answer in time"
    finally:
        engine.delete(f"/services/{created['ID']}")


def ask_service(site: Site, rendered: Rendered, script: str) -> dict[str, Any]:
    """The job that asks: the workload's own image and networks, and nothing else of it."""
    template = rendered.spec["TaskTemplate"]
    name = rendered.workload.name
    return {
        "Name": f"{site.namespace}_ask_{uuid.uuid4().hex[:12]}",
        "Labels": {NAMESPACE: site.namespace, SET: site.set_name, WORKLOAD: f"ask-{name}", KIND: ASK},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": rendered.image,
                "Command": ["/bin/sh", "-c", script],
                "User": rendered.workload.user,
                "ReadOnly": True,
                "CapabilityDrop": ["ALL"],
                "Healthcheck": {"Test": ["NONE"]},
            },
            "Resources": {"Limits": {"MemoryBytes": 64 * 2**20}},
            "RestartPolicy": {"Condition": "none", "Delay": SECOND},
            "Networks": [{"Target": network["Target"]} for network in template["Networks"]],
        },
        "Mode": {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def addresses(task: Mapping[str, Any], namespace: str) -> dict[str, str]:
    """The task's addresses by zone."""
    found = {}
    for attachment in task.get("NetworksAttachments") or []:
        name = str((attachment.get("Network") or {}).get("Spec", {}).get("Name", ""))
        if name.startswith(f"{namespace}_") and attachment.get("Addresses"):
            found[name.removeprefix(f"{namespace}_")] = str(attachment["Addresses"][0]).partition("/")[0]
    return found
