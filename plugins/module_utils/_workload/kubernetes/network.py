# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Who finds and reaches whom: Services, and the NetworkPolicies that open what the default policy shuts.

A connection needs both ends: the egress of who calls and the ingress of who answers. Every policy belongs to the
workload that declares the need, so that what others declare never changes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..model import SCRAPERS, Egress, Workload
from ..rendering import routes
from .site import NAMESPACE, NAMESPACE_NAME, ZONE, KubernetesSite, manifest, publishes

NODE_PORTS = range(30000, 32768)  # the cluster's default
API_PORTS = (443, 6443)
POLICY_TYPES = ["Ingress", "Egress"]


def services(workload: Workload, site: KubernetesSite, notes: list[str]) -> list[dict[str, Any]]:
    """A headless Service, which names the Pods that are ready; and the ways in from outside."""
    labels, namespace = site.labels(workload), site.namespace_of(workload)
    headless: dict[str, Any] = {"type": "ClusterIP", "clusterIP": "None", "selector": site.selector(workload.name)}
    ports = [_service_port(port.name, port.port, port.port, port.protocol) for port in workload.ports]
    if ports:
        headless["ports"] = ports
    found = [manifest("v1", "Service", workload.name, namespace, labels, spec=headless)]
    if site.in_edge(workload):
        host = f"{workload.name}.{namespace}.svc.{site.cluster_domain}"
        back = {"type": "ExternalName", "externalName": host}
        found.append(manifest("v1", "Service", workload.name, site.namespace, labels, spec=back))
    elif publishes(workload):
        found.append(_entry(workload, site, labels, notes))
    return found


def policies(workload: Workload, site: KubernetesSite, notes: list[str]) -> list[dict[str, Any]]:
    """What the workload itself may, and one policy at each peer that lets it in."""
    labels, namespace = site.labels(workload), site.namespace_of(workload)
    found = []
    spec: dict[str, Any] = {}
    ingress, egress = _ingress(workload, site), _egress(workload, site, notes)
    if ingress or egress:
        spec = {"podSelector": {"matchLabels": site.selector(workload.name)}, "policyTypes": POLICY_TYPES}
        if ingress:
            spec["ingress"] = ingress
        if egress:
            spec["egress"] = egress
        found.append(_policy(workload.name, namespace, labels, spec))
    caller = _pods(site.selector(workload.name), [namespace])
    for peer in sorted(set(workload.connects)):
        spec = {
            "podSelector": {"matchLabels": site.selector(peer)},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [caller]}],
        }
        # No workload's name has a dot: this name is that of no other policy.
        found.append(_policy(f"{workload.name}.{peer}", site.namespace_of_peer(peer), labels, spec))
    return found


def default_policy(namespace: str, site: KubernetesSite) -> dict[str, Any]:
    """Nothing in, nothing out but questions about names. Other Pods of the namespace are not ours to shut in."""
    spec = {
        "podSelector": {"matchLabels": {NAMESPACE: site.namespace}},
        "policyTypes": POLICY_TYPES,
        "egress": [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}],
    }
    return _policy("mlops.onprem.default", namespace, site.common_labels(), spec)


def _ingress(workload: Workload, site: KubernetesSite) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = []
    outside = [_port(port.port, port.protocol) for port in workload.ports if port.published is not None]
    if outside:
        rules.append({"ports": outside})
    routed = _routed_ports(workload, site)
    if routed:
        rules.append({"from": [_zone("edge", site)], "ports": [_port(port) for port in routed]})
    if workload.metrics is not None:
        port = workload.port_number(workload.metrics.port)
        rules.append({"from": [_zone(SCRAPERS, site)], "ports": [_port(port)]})
    return rules


def _egress(workload: Workload, site: KubernetesSite, notes: list[str]) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = []
    if workload.connects:
        peers = sorted(set(workload.connects))
        rules.append({"to": [_pods(site.selector(peer), [site.namespace_of_peer(peer)]) for peer in peers]})
    gateway = workload.zone == "edge" and (publishes(workload) or workload.cluster_access)
    if gateway or workload.zone == SCRAPERS:
        # To any of ours that lets it in: routes come and go without a change here.
        rules.append({"to": [_pods({NAMESPACE: site.namespace}, site.namespaces)]})
    if workload.cluster_access:
        rules += _api(workload, site, notes)
    return rules + [_outside(*outside) for outside in sorted({(item.host, item.port) for item in workload.egress})]


def _routed_ports(workload: Workload, site: KubernetesSite) -> list[int]:
    """What the gateway sends to, and where it and the agent ask whether a Pod is ready."""
    ports: set[int] = set()
    for route in routes(workload, site.domain):
        ports.add(route["port"])
        if route["readiness"]:
            ports.add(route["readiness"]["port"])
    return sorted(ports)


def _api(workload: Workload, site: KubernetesSite, notes: list[str]) -> list[dict[str, Any]]:
    if site.api_endpoints:
        return [_outside(host, port) for host, port in sorted(set(site.api_endpoints))]
    notes.append(
        f"{workload.name}.cluster_access: where the cluster's API answers isn't known, "
        f"so it may talk to any host's ports {' and '.join(map(str, API_PORTS))}"
    )
    return [{"ports": [_port(port) for port in API_PORTS]}]


def _outside(host: str, port: int) -> dict[str, Any]:
    """To an address, or for a name, which a policy can't know, to any host's port."""
    rule: dict[str, Any] = {"ports": [_port(port)]}
    address = Egress(host=host, port=port).address
    if address is not None:
        rule["to"] = [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}]
    return rule


def _entry(workload: Workload, site: KubernetesSite, labels: dict[str, str], notes: list[str]) -> dict[str, Any]:
    node_port = site.entry == "node_port"
    ports = []
    for port in workload.ports:
        if port.published is None:
            continue
        item = _service_port(port.name, port.published, port.port, port.protocol)
        if node_port and port.published in NODE_PORTS:
            item["nodePort"] = port.published
        elif node_port:
            notes.append(
                f"{workload.name}.ports.{port.name}: {port.published} is no node port "
                f"({NODE_PORTS[0]} to {NODE_PORTS[-1]}): the cluster chooses one"
            )
        ports.append(item)
    spec = {
        "type": "NodePort" if node_port else "LoadBalancer",
        "externalTrafficPolicy": "Cluster",
        "selector": site.selector(workload.name),
        "ports": ports,
    }
    return manifest("v1", "Service", f"{workload.name}-entry", site.namespace, labels, spec=spec)


def _service_port(name: str, port: int, target: int, protocol: str) -> dict[str, Any]:
    return {"name": name, "port": port, "protocol": protocol.upper(), "targetPort": target}


def _policy(name: str, namespace: str, labels: dict[str, str], spec: dict[str, Any]) -> dict[str, Any]:
    return manifest("networking.k8s.io/v1", "NetworkPolicy", name, namespace, labels, spec=spec)


def _port(port: int, protocol: str = "tcp") -> dict[str, Any]:
    return {"port": port, "protocol": protocol.upper()}


def _zone(zone: str, site: KubernetesSite) -> dict[str, Any]:
    return _pods({NAMESPACE: site.namespace, ZONE: zone}, site.namespaces)


def _pods(labels: dict[str, str], namespaces: Iterable[str]) -> dict[str, Any]:
    names = list(namespaces)
    among: dict[str, Any]
    if len(names) == 1:
        among = {"matchLabels": {NAMESPACE_NAME: names[0]}}
    else:
        among = {"matchExpressions": [{"key": NAMESPACE_NAME, "operator": "In", "values": sorted(names)}]}
    return {"namespaceSelector": among, "podSelector": {"matchLabels": labels}}
