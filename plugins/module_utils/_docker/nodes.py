# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Swarm's nodes: what they are and what they should be, compared."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# On every node: its name in the inventory; hosts may share a host name.
HOST_LABEL = "mlops.host"
# The labels that the inventory set, so that those it no longer has are taken away, and nobody else's.
DECLARED_LABEL = "mlops.declared"


@dataclass(frozen=True)
class WantedNode:
    id: str
    host: str
    role: str
    labels: Mapping[str, str] = field(default_factory=dict)
    availability: str | None = None  # None: as it is, so that nobody's drained node comes back by itself


def wanted_labels(wanted: WantedNode, live: Mapping[str, str]) -> dict[str, str]:
    """The node's labels as they should be: the inventory's, and those that aren't the inventory's business."""
    formerly = set(filter(None, live.get(DECLARED_LABEL, "").split(",")))
    kept = {key: value for key, value in live.items() if key not in formerly and key != DECLARED_LABEL}
    labels = {**kept, **wanted.labels, HOST_LABEL: wanted.host}
    if wanted.labels:
        labels[DECLARED_LABEL] = ",".join(sorted(wanted.labels))
    return labels


def changed_spec(wanted: WantedNode, live: Mapping[str, Any]) -> dict[str, Any] | None:
    """The node's specification as it should be, or None where it is so already.

    :param live: the node as the API gives it.
    """
    before = dict(live["Spec"])
    after = {**before, "Role": wanted.role, "Labels": wanted_labels(wanted, before.get("Labels") or {})}
    if wanted.availability:
        after["Availability"] = wanted.availability
    return None if after == {**before, "Labels": before.get("Labels") or {}} else after


def summary(live: Mapping[str, Any]) -> dict[str, Any]:
    """A node in few words."""
    spec, status, manager = live["Spec"], live["Status"], live.get("ManagerStatus") or {}
    address = status.get("Addr") or ""
    if address in ("", "0.0.0.0"):  # noqa: S104 - what a leader says of itself at times
        address = manager.get("Addr", "").rpartition(":")[0]
    labels = dict(spec.get("Labels") or {})
    return {
        "id": live["ID"],
        "host": labels.get(HOST_LABEL, ""),
        "hostname": (live.get("Description") or {}).get("Hostname", ""),
        "address": address,
        "role": spec["Role"],
        "labels": labels,
        "availability": spec["Availability"],
        "state": status["State"],
        "message": status.get("Message", ""),
        "leader": bool(manager.get("Leader")),
        "reachability": manager.get("Reachability", ""),
    }


def shown(nodes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Nodes for a diff, by their names in the inventory."""
    keys = ("role", "availability", "labels")
    return {node["host"] or node["id"]: {key: node[key] for key in keys} for node in nodes}


def problems(nodes: Iterable[Mapping[str, Any]], expected: Iterable[str] = ()) -> list[str]:
    """What is wrong with a Swarm: nodes that are down, managers that can't be reached, hosts that are missing."""
    nodes = list(nodes)
    found = []
    for node in nodes:
        name = node["host"] or f"{node['hostname']} ({node['id']})"
        if node["state"] != "ready":
            found.append(f"{name} is {node['state']}{': ' + node['message'] if node['message'] else ''}")
        elif node["role"] == "manager" and node["reachability"] != "reachable":
            found.append(f"{name} is a manager that the others don't reach ({node['reachability'] or 'unknown'})")
    present = {node["host"] for node in nodes}
    found += [f"{host} is not in the Swarm" for host in expected if host not in present]
    return found


def address_towards(peers: Iterable[str]) -> str:
    """This host's address on the way to the first peer whose name is known; empty where none is. Sends nothing."""
    for peer in peers:
        try:
            family, kind, protocol, _name, target = socket.getaddrinfo(peer, 2377, type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.connect(target)
                address = str(probe.getsockname()[0])
        except OSError:
            continue
        if not address.startswith("127.") and address != "::1":
            return address
    return ""
