# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from ansible_collections.mlops.onprem.plugins.module_utils._kubernetes.entry import host_ports, node_ports

WANTED = {80: "gateway_http_port", 30443: "gateway_https_port"}


def pod(
    node: str, port: int, name: str = "ingress", ours: str = "", phase: str = "Running", **more: Any
) -> dict[str, Any]:
    labels = {"mlops.onprem/namespace": ours} if ours else {}
    return {
        "metadata": {"namespace": "ingress-nginx", "name": f"{name}-{node}", "labels": labels},
        "spec": {"nodeName": node, "containers": [{"ports": [{"hostPort": port, **more}]}]},
        "status": {"phase": phase},
    }


def test_a_port_that_is_taken_on_every_node() -> None:
    problems, warnings = host_ports(WANTED, [pod("a", 80), pod("b", 80)], ["a", "b"], "mlops")
    assert warnings == []
    (problem,) = problems
    assert problem.startswith("gateway_http_port: port 80 is taken on every node, by ingress-nginx/ingress-a, ")
    assert "mlops_entry" in problem


def test_a_port_that_is_taken_on_some_nodes() -> None:
    problems, warnings = host_ports(WANTED, [pod("a", 80)], ["a", "b"], "mlops")
    assert problems == []
    assert warnings == [
        "gateway_http_port: port 80 is taken on a (by ingress-nginx/ingress-a): the gateway goes to the other nodes"
    ]


def test_what_is_not_in_the_way() -> None:
    pods = [
        pod("a", 80, ours="mlops"),
        pod("a", 80, phase="Succeeded"),
        pod("a", 80, protocol="UDP"),
        pod("a", 8080),
        pod("control-plane", 80),
        {"metadata": {"namespace": "x", "name": "waiting"}, "spec": {"containers": [{"ports": [{"hostPort": 80}]}]}},
    ]
    assert host_ports(WANTED, pods, ["a"], "mlops") == ([], [])
    assert host_ports(WANTED, [pod("a", 80, ours="other")], ["a"], "mlops")[0] != []


def test_node_ports() -> None:
    def service(port: int | None, ours: str = "") -> dict[str, Any]:
        labels = {"mlops.onprem/namespace": ours} if ours else {}
        ports = [{"port": 80, **({"nodePort": port} if port else {})}]
        return {"metadata": {"namespace": "shop", "name": "web", "labels": labels}, "spec": {"ports": ports}}

    assert node_ports(WANTED, [service(30443)], "mlops") == [
        "gateway_https_port: the node port 30443 is taken by the Service shop/web: set another one"
    ]
    assert node_ports(WANTED, [service(30443, "mlops"), service(None), service(30000)], "mlops") == []
