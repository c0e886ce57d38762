# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed under a platform's name, and on which target: found, or noted on the manager."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._docker.api import Engine, read_swarm
from .._errors import RequestError

FILE = "installation.json"
LABEL = "mlops.namespace"  # of a Swarm's services
SECONDS = 2.0  # that a cluster has to answer in, which may be nobody's concern
HOW = "docs/operations.md (From one target to the other) says how to move"


def place(name: str, root: Path = Path("/etc")) -> Path:
    return root / name / FILE


def noted(name: str, root: Path = Path("/etc")) -> str:
    """The target that the record names; empty where there is none."""
    try:
        record = json.loads(place(name, root).read_text(encoding="utf-8"))
        return str(record["target"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def others(name: str, root: Path = Path("/etc")) -> list[str]:
    """Other platforms that this host is the manager of."""
    return sorted(file.parent.name for file in root.glob(f"*/{FILE}") if file.parent.name != name)


def on_swarm(engine: Engine, info: Mapping[str, Any], name: str) -> int:
    """How many services of this name the host's Swarm has."""
    if not read_swarm(dict(info)).manager:
        return 0
    try:
        found = engine.call("GET", "/services", filters=json.dumps({"label": [f"{LABEL}={name}"]}))
    except RequestError:
        return 0
    return len(found or ())


def on_kubernetes(name: str, options: Mapping[str, Any]) -> str:
    """The cluster that has our namespace; empty where none has, or where that can't be told at once."""
    files = options.get("kubeconfig") or os.environ.get("KUBECONFIG") or "~/.kube/config"
    if not any(Path(file).expanduser().exists() for file in files.split(os.pathsep) if file):
        return ""
    with contextlib.suppress(Exception):  # whatever is wrong with a cluster that isn't the target
        from .._workload.kubernetes.client import connect
        from .._workload.kubernetes.kinds import NAMESPACE
        from .._workload.kubernetes.site import NAMESPACE as OURS

        client = connect(options.get("kubeconfig"), options.get("context"))
        address = client.server + NAMESPACE.path(None, name)
        answer = client.pool.request(
            "GET", address, headers=client.authorization(), timeout=SECONDS, retries=False, redirect=False
        )
        labels = json.loads(answer.data)["metadata"].get("labels") or {}
        return client.server if answer.status == 200 and labels.get(OURS) == name else ""
    return ""


def conflict(name: str, target: str, *, services: int, cluster: str, record: str) -> str:
    """Why the target can't be installed; empty if it can. ``services``: of a Swarm; ``cluster``: of Kubernetes."""
    if target == "kubernetes" and services:
        where = f"runs on this host's Swarm ({services} services)"
    elif target == "swarm" and cluster:
        where = f"runs on the Kubernetes cluster at {cluster}"
    elif record and record != target:
        where = f"was installed with the target {record} ({place(name)})"
    else:
        return ""
    return (
        f"mlops_target: is {target}, but the platform {name} {where}. Nothing is installed over it: uninstall it there "
        f"first, or take another mlops_name; {HOW}"
    )
