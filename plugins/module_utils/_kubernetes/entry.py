# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the ports at which clients come in are still to be had."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._workload.kubernetes.site import NAMESPACE

NODE_PORTS = range(30000, 32768)
"""The API server's default for --service-node-port-range."""


def host_ports(
    wanted: Mapping[int, str], pods: Iterable[Mapping[str, Any]], nodes: Sequence[str], ours: str
) -> tuple[list[str], list[str]]:
    """Problems and warnings. ``wanted``: ports, each with the variable that sets it; ``nodes``: those that take Pods.
    A port that is taken on some of them leaves the others."""
    problems, warnings = [], []
    holders: dict[int, dict[str, str]] = {}
    for pod in pods:
        spec, metadata = pod["spec"], pod["metadata"]
        done = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if done or not spec.get("nodeName") or (metadata.get("labels") or {}).get(NAMESPACE) == ours:
            continue
        for container in spec.get("containers") or ():
            for port in container.get("ports") or ():
                if port.get("hostPort") in wanted and port.get("protocol", "TCP") == "TCP":
                    found = holders.setdefault(int(port["hostPort"]), {})
                    found.setdefault(str(spec["nodeName"]), f"{metadata['namespace']}/{metadata['name']}")
    for number, found in sorted(holders.items()):
        where = sorted(found.keys() & set(nodes))
        whose = ", ".join(sorted({found[node] for node in where}))
        if where and len(where) == len(set(nodes)):
            problems.append(
                f"{wanted[number]}: port {number} is taken on every node, by {whose}: set another port, "
                "set mlops_entry to node_port or load_balancer, or remove what has it"
            )
        elif where:
            warnings.append(
                f"{wanted[number]}: port {number} is taken on {', '.join(where)} (by {whose}): "
                "the gateway goes to the other nodes"
            )
    return problems, warnings


def node_ports(wanted: Mapping[int, str], services: Iterable[Mapping[str, Any]], ours: str) -> list[str]:
    """Node ports that a Service of somebody else has. One outside the range is chosen by the cluster."""
    problems = []
    for service in services:
        metadata = service["metadata"]
        if (metadata.get("labels") or {}).get(NAMESPACE) == ours:
            continue
        for port in (service.get("spec") or {}).get("ports") or ():
            number = port.get("nodePort")
            if number in wanted and number in NODE_PORTS:
                problems.append(
                    f"{wanted[number]}: the node port {number} is taken by the Service "
                    f"{metadata['namespace']}/{metadata['name']}: set another one"
                )
    return sorted(problems)
