# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a network plug-in makes of NetworkPolicies (networking.k8s.io/v1), for as many fields as rendering uses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class End:
    """A Pod, or (with an address and no namespace) something outside the cluster."""

    name: str
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict, hash=False)
    address: str = ""


class Network:
    def __init__(self, manifests: Iterable[dict[str, Any]]) -> None:
        self.policies: list[dict[str, Any]] = []
        self.namespaces: dict[str, dict[str, str]] = {}
        self.pods: dict[str, End] = {}
        for item in manifests:
            meta = item["metadata"]
            if item["kind"] == "NetworkPolicy":
                self.policies.append(item)
            elif item["kind"] == "Namespace":
                labels = {**meta["labels"], "kubernetes.io/metadata.name": meta["name"]}
                self.namespaces[meta["name"]] = labels
            elif "template" in item.get("spec", {}):
                template = item["spec"]["template"]
                name = template["metadata"]["labels"]["mlops.onprem/workload"]
                self.pods[name] = End(name, meta["namespace"], template["metadata"]["labels"])

    def allows(self, caller: End, answers: End, port: int, protocol: str = "TCP") -> bool:
        """Whether a connection passes both ends."""
        out = self._side(caller, answers, "egress", "to", port, protocol)
        return out and self._side(answers, caller, "ingress", "from", port, protocol)

    def _side(self, end: End, other: End, direction: str, peers: str, port: int, protocol: str) -> bool:
        if not end.namespace:
            return True
        kind = direction.capitalize()
        selecting = [policy for policy in self.policies if kind in self._types(policy) and self._selects(policy, end)]
        if not selecting:
            return True
        return any(
            self._peer(rule.get(peers), other, policy["metadata"]["namespace"])
            and self._port(rule.get("ports"), port, protocol)
            for policy in selecting
            for rule in policy["spec"].get(direction, [])
        )

    @staticmethod
    def _types(policy: dict[str, Any]) -> list[str]:
        assert policy["spec"]["policyTypes"], "say them: without, they depend on what else is there"
        return list(policy["spec"]["policyTypes"])

    @staticmethod
    def _selects(policy: dict[str, Any], end: End) -> bool:
        return policy["metadata"]["namespace"] == end.namespace and matches(policy["spec"]["podSelector"], end.labels)

    @staticmethod
    def _port(ports: list[dict[str, Any]] | None, port: int, protocol: str) -> bool:
        return not ports or any(item["port"] == port and item["protocol"] == protocol for item in ports)

    def _peer(self, peers: list[dict[str, Any]] | None, other: End, home: str) -> bool:
        return not peers or any(self._is(peer, other, home) for peer in peers)

    def _is(self, peer: dict[str, Any], other: End, home: str) -> bool:
        if "ipBlock" in peer:
            address = other.address
            return bool(address) and ipaddress.ip_address(address) in ipaddress.ip_network(peer["ipBlock"]["cidr"])
        if not other.namespace:
            return False
        if "namespaceSelector" in peer:
            if not matches(peer["namespaceSelector"], self.namespaces[other.namespace]):
                return False
        elif other.namespace != home:
            return False
        return "podSelector" not in peer or matches(peer["podSelector"], other.labels)


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    unknown = set(selector) - {"matchLabels", "matchExpressions"}
    assert not unknown, unknown
    for term in selector.get("matchExpressions", []):
        assert term["operator"] == "In", term
        if labels.get(term["key"]) not in term["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
