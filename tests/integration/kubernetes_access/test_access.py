# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Each thing that can be wrong with a cluster, on a real API server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._kubernetes.access import Seen, Wanted, look
from ansible_collections.mlops.onprem.plugins.module_utils._kubernetes.rights import needed
from site_cluster import ROOT, Cluster, namespace, role

PORTS = {18099: "gateway_http_port"}


def seen(name: str, kubeconfig: Any, ports: dict[int, str] | None = None, **options: Any) -> Seen:
    return look(Wanted(name, {"kubeconfig": str(kubeconfig), **options}, PORTS if ports is None else ports))


def only(found: Seen) -> str:
    (problem,) = found.problems
    return problem


def test_a_cluster_that_will_do(cluster: Cluster, name: str) -> None:
    begin = time.monotonic()
    found = seen(name, cluster.kubeconfig)
    assert found.problems == []
    assert found.able
    assert re.match(r"v1\.\d+", found.version)
    assert found.nodes
    assert any(node.takes_pods for node in found.nodes)
    assert found.ours == []
    assert time.monotonic() - begin < 10


def test_the_module(cluster: Cluster, name: str) -> None:
    arguments = {
        "namespace": name,
        "kubernetes": {"kubeconfig": str(cluster.kubeconfig)},
        "hosts": {"elsewhere": "192.0.2.1"},
    }
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible"),
            *("localhost", "-m", "mlops.onprem.kubernetes_access", "-a", json.dumps(arguments)),
            *("-e", f"ansible_python_interpreter={sys.executable}"),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        capture_output=True,
        text=True,
        check=False,
    )
    result = json.loads(done.stdout.partition("=>")[2])
    assert (result["changed"], result["problems"], result["able"]) == (False, [], True)
    assert result["cluster"]["unknown_nodes"] == [node["name"] for node in result["cluster"]["nodes"]]


def test_no_kubeconfig(name: str, tmp_path: Path) -> None:
    found = seen(name, tmp_path / "nowhere")
    assert not found.able
    assert str(tmp_path / "nowhere") in only(found)
    assert only(found).startswith("mlops_kubeconfig: ")


def test_an_unknown_context(cluster: Cluster, name: str) -> None:
    known = cluster.kubectl("config", "get-contexts", "-o", "name").split()
    problem = only(seen(name, cluster.kubeconfig, context="moon"))
    assert "'moon'" in problem
    assert all(context in problem for context in known)
    assert "mlops_kube_context" in problem


def test_nobody_answers(cluster: Cluster, name: str, tmp_path: Path) -> None:
    problem = only(seen(name, cluster.config(tmp_path, server="https://127.0.0.1:1")))
    assert "No answer from the Kubernetes API at https://127.0.0.1:1" in problem


def test_another_authority(cluster: Cluster, name: str, tmp_path: Path) -> None:
    config = cluster.config(tmp_path)
    text = re.sub(
        r"certificate-authority(-data)?: .*",
        "certificate-authority: /etc/ssl/certs/ca-certificates.crt",
        Path(config).read_text(),
    )
    Path(config).write_text(text)
    assert "doesn't vouch for" in only(seen(name, config))


def test_an_expired_certificate(cluster: Cluster, name: str) -> None:
    problem = only(seen(name, cluster.user("--user", "late", "--expired")))
    assert "its client certificate expired on " in problem


def test_a_certificate_that_ends_soon(cluster: Cluster, name: str) -> None:
    found = seen(name, cluster.user("--user", "soon", "--days", "3"))
    assert any("its client certificate expires on " in text for text in found.warnings)


def test_every_missing_right_at_once(cluster: Cluster, name: str) -> None:
    begin = time.monotonic()
    found = seen(name, cluster.user("--user", "eve", "--groups", "readers"))
    problem = only(found)
    assert time.monotonic() - begin < 20
    assert problem.startswith("eve lacks rights on the cluster: in the whole cluster: create namespaces; ")
    for right in needed([name, f"{name}-edge"], manage_namespaces=True):
        assert right.full_resource in problem
        assert right.verb in problem
    assert f"in the namespace {name}: " in problem
    assert f"in the namespace {name}-edge: " in problem
    assert "mlops_manage_namespaces" in problem
    assert "Rights on the cluster" in problem


def test_a_tenant_with_namespaces_of_its_own(cluster: Cluster, name: str) -> None:
    """No right on the whole cluster, and in its namespaces all that is needed but one."""
    tenant = f"{name}-tenant"
    kubeconfig = cluster.user("--user", tenant)
    cluster.put(namespace(name), namespace(f"{name}-edge"))
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    cluster.put(*role(tenant, name, tenant, rules), *role(tenant, f"{name}-edge", tenant, rules))
    lookers = [
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"], "resourceNames": [name, f"{name}-edge"]}
    ]
    cluster.put(*role(tenant, "", tenant, lookers))
    found = seen(name, kubeconfig, manage_namespaces=False)
    assert found.problems == []
    assert any("storage class" in text for text in found.warnings)
    fewer = [
        {"apiGroups": [""], "resources": ["*"], "verbs": ["*"]},
        {
            "apiGroups": ["batch", "policy", "discovery.k8s.io", "networking.k8s.io", "rbac.authorization.k8s.io"],
            "resources": ["*"],
            "verbs": ["*"],
        },
        {"apiGroups": ["apps"], "resources": ["*"], "verbs": ["get", "list", "watch", "create", "patch"]},
    ]
    cluster.put(*role(tenant, name, tenant, fewer))
    problem = only(seen(name, kubeconfig, manage_namespaces=False))
    assert f"in the namespace {name}: delete deployments.apps; delete statefulsets.apps. " in problem


def test_an_unknown_storage_class(cluster: Cluster, name: str) -> None:
    known = cluster.kubectl("get", "storageclass", "-o", "name").split()
    problem = only(seen(name, cluster.kubeconfig, storage_class="gold"))
    assert problem.startswith("mlops_storage_class: there is no storage class gold (known: ")
    assert all(entry.rpartition("/")[2] in problem for entry in known)


def test_a_namespace_that_is_not_ours(cluster: Cluster, name: str) -> None:
    cluster.put(namespace(name, **{"app.kubernetes.io/managed-by": "Helm"}))
    problem = only(seen(name, cluster.kubeconfig))
    assert problem.startswith(
        f"mlops_name: there is a namespace {name} already that isn't this platform's (it is managed by Helm)"
    )
    assert seen(name, cluster.kubeconfig, manage_namespaces=False, entry="load_balancer").problems == []


def test_our_own_namespace(cluster: Cluster, name: str) -> None:
    cluster.put(namespace(name, **{"mlops.onprem/namespace": name}))
    found = seen(name, cluster.kubeconfig)
    assert (found.problems, found.ours) == ([], [name])


def test_namespaces_that_somebody_else_makes(cluster: Cluster, name: str) -> None:
    found = seen(name, cluster.kubeconfig, manage_namespaces=False)
    assert [problem.partition(": ")[0] for problem in found.problems] == ["mlops_manage_namespaces"] * 2
    assert f"there is no namespace {name}-edge" in found.problems[1]
    level = {"pod-security.kubernetes.io/enforce": "baseline"}
    cluster.put(namespace(name, **level), namespace(f"{name}-edge", **level))
    assert "allows no host port" in only(seen(name, cluster.kubeconfig, manage_namespaces=False))


def test_a_namespace_on_its_way_out(cluster: Cluster, name: str) -> None:
    held = namespace(name, **{"mlops.onprem/namespace": name})
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "held", "namespace": name, "finalizers": ["test.invalid/held"]},
    }
    cluster.put(held, secret)
    cluster.kubectl("delete", "namespace", name, "--wait=false")
    try:
        assert "just being removed" in only(seen(name, cluster.kubeconfig))
    finally:
        cluster.kubectl(
            "-n", name, "patch", "secret", "held", "--type=merge", "-p", '{"metadata": {"finalizers": null}}'
        )


def test_a_node_port_that_is_taken(cluster: Cluster, name: str) -> None:
    cluster.put(namespace(name))
    ports = [{"port": 80, "protocol": "TCP"}]
    metadata = {"name": "web", "namespace": name}
    cluster.put(
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"type": "NodePort", "ports": ports}}
    )
    port = int(cluster.kubectl("-n", name, "get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}"))
    problem = only(seen(f"{name}-x", cluster.kubeconfig, {port: "gateway_http_port"}, entry="node_port"))
    assert problem == f"gateway_http_port: the node port {port} is taken by the Service {name}/web: set another one"
    assert seen(f"{name}-x", cluster.kubeconfig, {port: "gateway_http_port"}, entry="load_balancer").problems == []


@pytest.mark.parametrize("everywhere", [True, False])
def test_a_host_port_that_is_taken(cluster: Cluster, name: str, everywhere: bool) -> None:
    takers = [node.name for node in seen(name, cluster.kubeconfig).nodes if node.takes_pods]
    if not everywhere and len(takers) == 1:
        pytest.skip("the cluster has one node")
    cluster.put(namespace(name))
    port = 18097 if everywhere else 18096
    for node in takers if everywhere else takers[:1]:
        container = {
            "name": "web",
            "image": "testbed.invalid/busybox:1",
            "ports": [{"containerPort": 80, "hostPort": port}],
        }
        cluster.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"web-{node}", "namespace": name},
                "spec": {"nodeName": node, "containers": [container]},
            }
        )
    found = seen(f"{name}-x", cluster.kubeconfig, {port: "gateway_http_port"})
    if everywhere:
        assert only(found).startswith(f"gateway_http_port: port {port} is taken on every node, by {name}/web-")
    else:
        assert found.problems == []
        assert any(f"port {port} is taken on {takers[0]} " in text for text in found.warnings)
