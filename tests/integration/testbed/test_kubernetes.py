# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes bed does what clusters of sites do: volumes, networks, names, rights, registries, and faults."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from datetime import timedelta
from pathlib import Path

import pytest
from bed_images import archive
from k8s import Bed
from k8s_api import Api, ApiError
from k8s_components import DOMAIN
from k8s_programs import TEST_IMAGE, image_archives
from nodes import BedError
from on_kubernetes import NAMESPACE, Cluster, eventually, on, registry

pytestmark = pytest.mark.testbed
ROOT = Path(__file__).resolve().parents[3]
HOST_PORT, NODE_PORT = 18099, 30099
SERVE = "mkdir /tmp/www; echo {}>/tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"


def processes(bed: Bed) -> dict[tuple[str, str], int | None]:
    return {(node.name, name): node.process(name) for node in bed.nodes for name in node.components}


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=3) as answer:
        return str(answer.read().decode().strip())


def test_up_again_changes_nothing_and_status_says_all_runs(cluster: Cluster) -> None:
    before = processes(cluster.bed)
    assert None not in before.values()
    cluster.bed.up()
    assert processes(cluster.bed) == before
    command = [str(ROOT / "bin" / "testbed"), "kubernetes", "--name", cluster.bed.name, "status"]
    done = subprocess.run(command, text=True, capture_output=True, check=True)
    rows = json.loads(done.stdout)
    assert [(row["name"], row["power"], row["ready"]) for row in rows] == [
        ("node1", "on", "True"),
        ("node2", "on", "True"),
    ]
    listed = cluster.api.ask("GET", "/api/v1/nodes")["items"]
    assert len({item["status"]["nodeInfo"]["machineID"] for item in listed}) == 2


def test_the_name_of_a_bed_belongs_to_one_kind(cluster: Cluster) -> None:
    command = [sys.executable, str(ROOT / "tests" / "testbed" / "swarm.py"), "--name", cluster.bed.name, "down"]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert "is one of kubernetes" in done.stderr


def test_pod_security_is_enforced(cluster: Cluster) -> None:
    with pytest.raises(ApiError, match="violates PodSecurity") as refused:
        cluster.pod("root", "true", cluster.bed.nodes[0], securityContext={"runAsUser": 0})
    assert refused.value.status == 403


def test_a_volume_survives_a_pulled_plug_and_goes_with_its_claim(cluster: Cluster) -> None:
    node = cluster.bed.nodes[1]
    claim = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
    cluster.apply("v1", "PersistentVolumeClaim", "persistentvolumeclaims", "data", claim)
    cluster.pod(
        "writer",
        "echo run >>/data/runs; id -u; stat -c %g /data; cat /data/runs; exec sleep 1000",
        node,
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
    )
    cluster.wait_for_pod("writer")
    eventually(10, lambda: cluster.said("writer").split() == ["10001", "10001", "run"], "the first run")
    volume = cluster.api.ask("GET", f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims/data")["spec"]["volumeName"]
    kept = node.directory / "volumes" / volume
    assert (kept / "runs").read_text() == "run\n"

    node.stop()
    assert cluster.bed.status()[1]["power"] == "off"
    cluster.bed.start(node)
    cluster.wait_for_pod("writer", restarts=1)
    eventually(20, lambda: cluster.said("writer").split()[2:] == ["run", "run"], "the second run")

    cluster.api.ask("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/writer")
    cluster.api.ask("DELETE", f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims/data")
    eventually(30, lambda: not kept.exists(), "the volume's directory to be removed")
    eventually(30, lambda: cluster.gone(f"/api/v1/persistentvolumes/{volume}"), "the volume to be gone")


def test_ports_names_and_traffic_between_nodes(cluster: Cluster) -> None:
    labels = {"app": "web"}
    spec = {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}
    node_port = {"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080, "nodePort": NODE_PORT}]}
    cluster.apply("v1", "Service", "services", "web", {"spec": {**spec, **node_port}}, "default")
    cluster.apply("v1", "Service", "services", "members", {"spec": {**spec, "clusterIP": "None"}}, "default")
    ports = [{"containerPort": 8080, "hostPort": HOST_PORT}]
    for node in cluster.bed.nodes:
        probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
        script = SERVE.format(node.name)
        cluster.pod(f"web-{node.name}", script, node, "default", labels=labels, ports=ports, readinessProbe=probe)
    for node in cluster.bed.nodes:
        cluster.wait_for_pod(f"web-{node.name}", namespace="default")
    hosts = [f"http://{node.address}" for node in cluster.bed.nodes]
    assert [fetched(f"{host}:{HOST_PORT}") for host in hosts] == ["node1", "node2"]

    def node_ports_lead_to_both() -> bool:
        return all({fetched(f"{host}:{NODE_PORT}") for _ in range(12)} == {"node1", "node2"} for host in hosts)

    eventually(20, node_ports_lead_to_both)

    addresses = {cluster.get_pod(f"web-{node.name}", "default")["status"]["podIP"] for node in cluster.bed.nodes}
    with registry(f"{cluster.bed.network}.1", image_archives()[1], "any") as here:
        lines = [f"nslookup members.default.svc.{DOMAIN}", "wget -qO- http://web.default"]
        lines += [f"wget -qO- http://{address}:8080" for address in sorted(addresses)]
        lines += [f"wget -qO- http://{here}/v2/ && echo reached", "exec sleep 1000"]
        for node in cluster.bed.nodes:
            cluster.pod(f"client-{node.name}", "; ".join(lines), node)
        for node in cluster.bed.nodes:
            cluster.wait_for_pod(f"client-{node.name}")
            said = cluster.said_at_last(f"client-{node.name}", "reached")
            assert set(re.findall(r"Address: (10\.244\.\S+)", said)) == addresses
            assert said.split()[-3:] == ["node1", "node2", "reached"]
            cluster.api.ask("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/client-{node.name}")


def test_a_registry_is_made_known_without_a_restart(cluster: Cluster) -> None:
    node = cluster.bed.nodes[1]
    before = node.process("containerd")
    _, busybox = image_archives()
    with registry(f"{cluster.bed.network}.1", busybox, "site/busybox") as here:
        hosts = f'server = "http://{here}"\n[host."http://{here}"]\ncapabilities = ["pull", "resolve"]\n'
        node.write({f"/etc/containerd/certs.d/{here}/hosts.toml": hosts.encode()})
        cluster.pod("pulled", "exec sleep 1000", node, image=f"{here}/site/busybox:1")
        cluster.wait_for_pod("pulled")
    assert node.process("containerd") == before
    cluster.api.ask("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/pulled")


def test_other_users_have_the_rights_they_were_given(cluster: Cluster) -> None:
    secrets = f"/api/v1/namespaces/{NAMESPACE}/secrets"
    somebody = Api(cluster.bed.user("somebody", ["readers"], timedelta(days=1)))
    with pytest.raises(ApiError, match='User "somebody" cannot list resource "secrets"'):
        somebody.ask("GET", secrets)
    binding = {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "readers"}],
    }
    cluster.apply("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", "readers", binding)
    eventually(10, lambda: somebody.ask("GET", secrets), "the right to be there")

    command = [str(ROOT / "bin" / "testbed"), "kubernetes", "--name", cluster.bed.name, "kubeconfig"]
    done = subprocess.run([*command, "--user", "late", "--expired"], text=True, capture_output=True, check=True)
    path = Path(done.stdout.strip())
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ApiError) as refused:
        Api(path).ask("GET", secrets)
    assert refused.value.status == 401


def test_a_killed_api_server_comes_back_and_no_pod_notices(cluster: Cluster) -> None:
    first = cluster.bed.nodes[0]
    cluster.pod("steady", "exec sleep 1000", first)
    cluster.wait_for_pod("steady")
    first.restart_component("kube-apiserver")
    eventually(40, lambda: cluster.api.ask("GET", "/readyz") == "ok", "the API server")
    first.stop_component("kube-apiserver")
    with pytest.raises(OSError):
        cluster.api.ask("GET", "/readyz")
    assert cluster.bed.status()[0]["components"]["kube-apiserver"] == "off"
    first.start_component("kube-apiserver")
    eventually(40, lambda: cluster.api.ask("GET", "/readyz") == "ok", "the API server")
    state = cluster.get_pod("steady")["status"]["containerStatuses"][0]
    assert (state["ready"], state["restartCount"]) == (True, 0)
    with pytest.raises(BedError, match="runs containerd, kubelet"):
        cluster.bed.nodes[1].component("etcd")


def test_the_control_plane_comes_back_with_what_it_knew(cluster: Cluster) -> None:
    first = cluster.bed.nodes[0]
    first.stop()
    cluster.bed.start(first)
    cluster.wait_for_pod("steady", restarts=1)
    cluster.pod("after", "exec sleep 1000", cluster.bed.nodes[1])
    cluster.wait_for_pod("after")


def test_the_inventory_reaches_this_machine_and_the_nodes(cluster: Cluster) -> None:
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1"}
    command = [str(binaries / "ansible"), "-i", str(cluster.bed.directory / "inventory"), "mlops"]
    arguments = ["-m", "ansible.builtin.command", "-a", "hostname", "-o"]
    done = subprocess.run([*command, *arguments], text=True, capture_output=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    said = {line.split(" | ")[0]: line.split()[-1] for line in done.stdout.splitlines()}
    assert said == {"localhost": on_this_machine("hostname"), "node1": "node1", "node2": "node2"}
    assert on(cluster.bed.nodes[1], "hostname") == "node2"


def on_this_machine(*command: str) -> str:
    return subprocess.check_output(command, text=True).strip()


def test_images_are_the_same_each_time() -> None:
    files = {"program": b"#!/bin/sh\n"}
    assert archive(TEST_IMAGE, files, {}) == archive(TEST_IMAGE, files, {})
