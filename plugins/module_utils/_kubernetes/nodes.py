# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's nodes, as far as an installation has to know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Node:
    """``takes_pods``: ready, not cordoned, and with no taint that keeps a Pod without tolerations away."""

    name: str
    addresses: tuple[str, ...]
    runtime: str
    architecture: str
    takes_pods: bool

    def facts(self) -> dict[str, Any]:
        return {**asdict(self), "addresses": list(self.addresses)}


def read(raw: Mapping[str, Any]) -> Node:
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    info = status.get("nodeInfo") or {}
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
    kept_away = any(taint.get("effect") in ("NoSchedule", "NoExecute") for taint in spec.get("taints") or ())
    return Node(
        raw["metadata"]["name"],
        tuple(entry["address"] for entry in status.get("addresses") or ()),
        str(info.get("containerRuntimeVersion") or ""),
        str(info.get("architecture") or ""),
        ready and not kept_away and not spec.get("unschedulable"),
    )


def problems(nodes: Sequence[Node], machine: str) -> tuple[list[str], list[str]]:
    """``machine``: what images are built on, as uname says it."""
    takers = [node for node in nodes if node.takes_pods and node.architecture]
    if not takers:
        return ["the cluster has no node that is ready and takes Pods (cordoned, tainted or lost): put one right"], []
    built = _ARCHITECTURES.get(machine, machine)
    others = [node for node in takers if node.architecture != built]
    if not others:
        return [], []
    named = ", ".join(f"{node.name} ({node.architecture})" for node in others)
    if len(others) == len(takers):
        return [f"images are built for {built} on this manager, and no node is that: {named}: take another manager"], []
    return [], [f"images are built for {built} on this manager: taint or cordon {named}, or Pods there won't start"]


def unknown_to_inventory(nodes: Iterable[Node], hosts: Mapping[str, str]) -> list[str]:
    """Nodes that no host of the inventory is. ``hosts``: its names, and the addresses that they are reached at."""
    known = {*hosts, *hosts.values()}
    return sorted(node.name for node in nodes if not known & {node.name, node.name.partition(".")[0], *node.addresses})
