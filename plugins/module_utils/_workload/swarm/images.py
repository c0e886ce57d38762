# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Images: a reference that needs no registry at start, and its presence on every node before a rollout."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from ..base import Reporter
from ..engine import Engine, EngineError
from ..errors import WorkloadError
from ..model import canonical
from .live import PULL, Snapshot, label, read, state
from .render import IMAGE, KIND, NAMESPACE, SECOND, SET, WORKLOAD


def is_fixed(reference: str) -> bool:
    """By digest or by image id: what it means can't change, and a node that has it asks no registry."""
    return "@sha256:" in reference or reference.startswith("sha256:")


def fixed(engine: Engine, reference: str, nodes: int) -> str:
    """The same image by digest; on a single node an image that exists only there goes by its id."""
    if is_fixed(reference):
        return reference
    local = engine.find(f"/images/{reference}/json") if nodes <= 1 else None
    if local is not None:
        return str(local["Id"])
    try:
        found = engine.get(f"/distribution/{reference}/json")
    except EngineError as error:
        where = "isn't on this machine, and" if nodes <= 1 else "is named without its digest, and"
        raise WorkloadError(f"The image {reference} {where} its registry doesn't tell the digest: {error}") from error
    name = reference.rpartition(":")[0] if ":" in reference.rpartition("/")[2] else reference
    return f"{name}@{found['Descriptor']['digest']}"


def prepare_here(engine: Engine, reference: str, report: Reporter) -> None:
    """Pulls the image unless this (the only) node has it."""
    if engine.find(f"/images/{reference}/json") is not None:
        return
    if reference.startswith("sha256:"):
        raise WorkloadError(f"The image {reference} is gone from this machine")
    report(f"pulling {reference}")
    said = time.monotonic()
    for message in engine.pull(reference):
        if time.monotonic() - said > 10:
            said = time.monotonic()
            report(f"pulling {reference}: {message.get('id', '')} {message.get('status', '')}")


def pull_service(namespace: str, set_name: str, reference: str, constraints: list[str]) -> dict[str, Any]:
    """A job that runs once on every node (and on those that join later), only to have the image there."""
    digest = hashlib.sha256(canonical([set_name, reference, constraints]).encode()).hexdigest()[:12]
    name = f"{namespace}_pull_{digest}"
    labels = {NAMESPACE: namespace, SET: set_name, WORKLOAD: f"pull-{digest}", KIND: PULL, IMAGE: reference}
    return {
        "Name": name,
        "Labels": labels,
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": reference,
                "Labels": {NAMESPACE: namespace, SET: set_name},
                "Command": ["/bin/true"],
                "User": "65534:65534",
                "ReadOnly": True,
                "CapabilityDrop": ["ALL"],
                "Healthcheck": {"Test": ["NONE"]},
            },
            "Resources": {"Limits": {"MemoryBytes": 64 * 2**20}},
            "RestartPolicy": {"Condition": "none", "Delay": SECOND},
            "Placement": {"Constraints": constraints} if constraints else {},
        },
        "Mode": {"GlobalJob": {}},
    }


def prepare_everywhere(
    engine: Engine, spec: Mapping[str, Any], report: Reporter, namespace: str, wait_timeout: float
) -> None:
    """Runs the pull job (unless it is there) and waits until every ready node has the image.

    A task that was rejected had no image; one that failed had it, but nothing to run in it, which is all the same here.
    """
    name, reference = spec["Name"], spec["TaskTemplate"]["ContainerSpec"]["Image"]
    constraints = list(spec["TaskTemplate"]["Placement"].get("Constraints", []))
    snapshot = read(engine, namespace)
    if name in snapshot.services and _missing(snapshot, name, constraints)[1]:
        engine.delete(f"/services/{snapshot.services[name]['ID']}")
        snapshot.services.pop(name)
    if name not in snapshot.services:
        report(f"pulling {reference} on every node")
        engine.post("/services/create", spec, auth=True)
        snapshot = read(engine, namespace)
    deadline = time.monotonic() + wait_timeout
    said = time.monotonic()
    while True:
        waiting, refused = _missing(snapshot, name, constraints)
        if refused:
            reasons = "; ".join(f"{snapshot.node_name(node)}: {text}" for node, text in sorted(refused.items()))
            raise WorkloadError(f"The image {reference} can't be had on {reasons}")
        if not waiting:
            return
        if time.monotonic() > deadline:
            names = ", ".join(snapshot.node_name(node) for node in waiting)
            raise WorkloadError(f"The image {reference} wasn't on {names} within {wait_timeout:g} s")
        if time.monotonic() - said > 10:
            said = time.monotonic()
            report(f"pulling {reference}: {len(waiting)} nodes to go")
        time.sleep(0.3)
        snapshot = read(engine, namespace)


def present(snapshot: Snapshot, spec: Mapping[str, Any]) -> bool:
    """Whether the pull job of this image has done its work on every ready node."""
    constraints = list(spec["TaskTemplate"]["Placement"].get("Constraints", []))
    return spec["Name"] in snapshot.services and _missing(snapshot, spec["Name"], constraints) == ([], {})


def is_pull(service: Mapping[str, Any]) -> bool:
    return label(service, KIND) == PULL


def _missing(snapshot: Snapshot, name: str, constraints: list[str]) -> tuple[list[str], dict[str, str]]:
    """The nodes that are still at it, and those that couldn't, with the reason."""
    waiting: list[str] = []
    refused: dict[str, str] = {}
    for node in snapshot.ready_nodes(constraints):
        tasks = [task for task in snapshot.tasks_of(name) if task.get("NodeID") == node["ID"]]
        states = {state(task) for task in tasks}
        if states & {"complete", "failed"}:
            continue
        if "rejected" in states:
            refused[node["ID"]] = next(str(t["Status"].get("Err")) for t in tasks if state(t) == "rejected")
        else:
            waiting.append(node["ID"])
    return waiting, refused
