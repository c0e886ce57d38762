# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Jobs that are started and not awaited: what is asked for, and what their tasks say became of them.

A job's task whose policy is none isn't started a second time, whatever becomes of its node (swarmkit's orchestrator of
jobs looks at no nodes). Should there ever be a second one, as a new leader may make it, the first task is the run.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..base import Run
from ..engine import Engine, EngineError
from .live import ENDED, label, state
from .render import NAMESPACE, SET, WORKLOAD, Rendered

WAITING = ("new", "allocated", "pending")
STARTING = ("assigned", "accepted", "preparing", "ready", "starting")
KILLED = 137
STOPPED = {"MaxConcurrent": 1, "TotalCompletions": 0}
REMOVALS = 50  # looks at a job that is told to stop, each a tenth of a second after the one before


def service_name(namespace: str, name: str) -> str:
    return f"{namespace}_{name}"


def as_run(rendered: Rendered) -> Rendered:
    """A job by its own name, without a hash: there is one run of a name, whatever it was to do."""
    name = service_name(rendered.spec["Labels"][NAMESPACE], rendered.workload.name)
    return dataclasses.replace(rendered, name=name, spec={**rendered.spec, "Name": name})


def find(engine: Engine, namespace: str, set_name: str, name: str = "") -> list[dict[str, Any]]:
    """The services of a set's runs, or of the one of that name."""
    scope = [f"{NAMESPACE}={namespace}", f"{SET}={set_name}", *([f"{WORKLOAD}={name}"] if name else [])]
    return list(engine.get("/services", filters={"label": scope}))


def tasks_of(
    engine: Engine, services: Sequence[Mapping[str, Any]], attempts: int = 5
) -> dict[str, list[dict[str, Any]]]:
    """By service, the oldest first. A service that has gone meanwhile has none."""
    ids = [str(service["ID"]) for service in services]
    found: dict[str, list[dict[str, Any]]] = {id: [] for id in ids}
    try:
        tasks = engine.get("/tasks", filters={"service": ids}) if ids else []
    except EngineError as error:
        if error.status != 404 or attempts <= 1:
            raise
        left = {service["ID"] for service in engine.get("/services")}
        return found | tasks_of(engine, [service for service in services if service["ID"] in left], attempts - 1)
    for task in sorted(tasks, key=lambda task: str(task["CreatedAt"])):
        found[task["ServiceID"]].append(task)
    return found


def remove(engine: Engine, service: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]) -> None:
    """Docker 20.10 lets a job's task go on when its service is removed, and starts one that waits as soon as a node has
    room, weeks later: what hasn't ended is told to before. A job that is to complete never is how to say so."""
    for attempt in range(REMOVALS):
        if service["Spec"]["Mode"].get("ReplicatedJob") is None or all(_leaves(task) for task in tasks):
            break
        if not is_stopped(service):
            template = service["Spec"]["TaskTemplate"]
            template = {**template, "ForceUpdate": int(template.get("ForceUpdate") or 0) + 1}
            spec = {**service["Spec"], "TaskTemplate": template, "Mode": {"ReplicatedJob": STOPPED}}
            try:
                engine.post(f"/services/{service['ID']}/update", spec, version=str(service["Version"]["Index"]))
            except EngineError as error:
                if "out of sequence" not in str(error) or attempt == REMOVALS - 1:
                    raise
        time.sleep(0.1 if attempt else 0)
        found = engine.find(f"/services/{service['ID']}")
        if found is None:
            return
        service, tasks = found, tasks_of(engine, [found])[found["ID"]]
    engine.delete(f"/services/{service['ID']}")


def is_stopped(service: Mapping[str, Any]) -> bool:
    return (service["Spec"]["Mode"].get("ReplicatedJob") or {}).get("TotalCompletions") == 0


def _leaves(task: Mapping[str, Any]) -> bool:
    return state(task) in ENDED or task.get("DesiredState") == "remove"


def run_of(
    service: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], nodes: Mapping[str, Mapping[str, Any]]
) -> Run:
    """``nodes`` by id."""
    own = service["Spec"].get("Labels") or {}
    created = str(service.get("CreatedAt") or "")
    about: dict[str, Any] = {
        "name": str(own.get(WORKLOAD)),
        "set_name": str(label(service, SET)),
        "created": created,
        "labels": {key: value for key, value in own.items() if not key.startswith("mlops.")},
    }
    if is_stopped(service):  # on its way out
        return Run(**about, state="failed", reason="it was told to stop", since=created)
    if not tasks:
        return Run(**about, state="waiting", reason="no task has been made of it yet", since=created)
    task = tasks[0]
    node = nodes.get(str(task.get("NodeID"))) or {}
    about |= {
        "node": str((node.get("Description") or {}).get("Hostname") or task.get("NodeID") or ""),
        "since": str(task["Status"].get("Timestamp") or created),
    }
    found, status = state(task), task["Status"]
    said = " ".join(str(status.get("Err") or status.get("Message") or "").split())
    gone = bool(task.get("NodeID")) and (node.get("Status") or {}).get("State") in (None, "down", "disconnected")
    if found == "complete":
        return Run(**about, state="succeeded", exit_code=0)
    if found in ("failed", "rejected", "shutdown", "remove"):
        code = (status.get("ContainerStatus") or {}).get("ExitCode")
        exit_code = None if code is None or found == "rejected" else int(code)
        return Run(**about, state="failed", reason=_failure(said, exit_code), exit_code=exit_code)
    if gone or found == "orphaned":
        return Run(**about, state="lost", reason=f"its node {about['node'] or '(unknown)'} doesn't answer")
    if found in WAITING:
        return Run(**about, state="waiting", reason=said)
    return Run(**about, state="starting" if found in STARTING else found, reason="")


def seconds(position: str) -> str:
    """A position as the engine takes it: seconds since 1970 and nanoseconds."""
    if not position:
        return ""
    whole, __, rest = position.rstrip("Z").partition(".")
    return f"{int(datetime.fromisoformat(f'{whole}+00:00').timestamp())}.{rest.ljust(9, '0')[:9]}"


def _failure(said: str, code: int | None) -> str:
    if code == KILLED:
        return f"{said}: it was killed, as a container is that wants more memory than its limit"
    return said or "it ended without a word"
