# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Observations for the tests."""

from __future__ import annotations

from typing import Any

from _workload.base import Observed, ObservedTask


def task(number: int, *, address: str | None = "127.0.0.1", healthy: bool = True, name: str = "") -> ObservedTask:
    addresses = {"edge": address} if address else {"data": "10.9.9.9"}
    return ObservedTask(name or f"task{number}", "node1", "running" if healthy else "failed", healthy, addresses)


def workload(name: str, *tasks: ObservedTask, readiness: dict[str, Any] | None = None, **more: Any) -> Observed:
    route = {
        "name": "ui",
        "host": f"{name}.localhost",
        "path": "/",
        "headers": {},
        "port": 5000,
        "scheme": "http",
        "strip_path": False,
        "priority": None,
        "readiness": readiness,
    }
    fields: dict[str, Any] = {
        "name": name,
        "set_name": "platform",
        "kind": "service",
        "image": "registry/image@sha256:0",
        "zone": "data",
        "replicas": len(tasks),
        "routes": [route],
        "metrics": None,
        "labels": {},
        "tasks": list(tasks),
        "status": "healthy" if tasks and all(item.healthy for item in tasks) else "starting",
        **more,
    }
    return Observed(**fields)
