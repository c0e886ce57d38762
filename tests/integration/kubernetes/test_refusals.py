# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Bad input: a clear message before anything is written."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster, bed, server

DATA = [{"name": "data", "path": "/data", "size": "16Mi"}]


def meta(cluster: Cluster, name: str, edge: bool = False, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": f"{cluster.namespace}-edge" if edge else cluster.namespace, **more}


def own_namespace(cluster: Cluster, name: str = "", **labels: str) -> None:
    """One that the site has made itself."""
    cluster.put(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name or cluster.namespace, "labels": labels}}
    )


def strange_pod(cluster: Cluster, name: str, node: str, port: int) -> dict[str, Any]:
    container = {"name": "c", "image": cluster.images["one"], "command": ["sleep", "1000"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta(cluster, name, True),
        "spec": {"nodeName": node, "containers": [{**container, "ports": [{"containerPort": port, "hostPort": port}]}]},
    }


def test_a_cluster_that_cannot_be_reached(cluster: Cluster, tmp_path: Path) -> None:
    text = Path(cluster.kubeconfig).read_text()
    away = tmp_path / "away"
    away.write_text(re.sub(r"https://[^\"',\s]+", "https://127.0.0.1:9", text))
    cluster.options["kubeconfig"] = str(away)
    begin = time.monotonic()
    error = cluster.fails(server())
    assert time.monotonic() - begin < 15
    assert "No answer from the Kubernetes API at https://127.0.0.1:9" in str(error) and str(away) in str(error)
    blank = cluster.apply(server(), check=True)
    assert blank.changed and "takes everything as to be created" in blank.notes[0]
    assert not cluster.absent(check=True).changed
    with pytest.raises(Exception, match="No answer"):
        cluster.absent()


def test_a_kubeconfig_that_is_none(cluster: Cluster, tmp_path: Path) -> None:
    cluster.options["context"] = "elsewhere"
    assert "has no context 'elsewhere' (known: " in str(cluster.fails(server()))
    del cluster.options["context"]
    cluster.options["kubeconfig"] = str(tmp_path / "none")
    assert f"There is no kubeconfig {tmp_path}/none: set mlops_kubeconfig" in str(cluster.fails(server()))
    (tmp_path / "none").write_text("{")
    assert "is no YAML" in str(cluster.fails(server()))


def test_who_is_expired_or_unknown(cluster: Cluster, on_bed: bool) -> None:
    if not on_bed:
        pytest.skip("only the bed makes users")
    cluster.options["kubeconfig"] = bed("kubeconfig", "--user", "t-late", "--expired")
    for check in (False, True):
        error = cluster.fails(server(), check=check)
        assert "doesn't know us" in str(error) and "its client certificate expired on " in str(error)
    assert not cluster.objects()


@pytest.fixture
def user(cluster: Cluster, on_bed: bool) -> Iterator[str]:
    """Somebody who may do anything in the namespace, but for StatefulSets and Secrets, and nothing elsewhere."""
    if not on_bed:
        pytest.skip("only the bed makes users")
    name = f"u-{cluster.namespace}"
    own_namespace(cluster)
    rules = [
        {
            "apiGroups": [""],
            "resources": ["pods", "configmaps", "serviceaccounts", "services", "persistentvolumeclaims"],
        },
        {"apiGroups": ["apps"], "resources": ["deployments"]},
        {"apiGroups": ["batch", "networking.k8s.io", "policy", "rbac.authorization.k8s.io"], "resources": ["*"]},
    ]
    rules = [{**rule, "verbs": ["*"]} for rule in rules]
    looks = [
        {"apiGroups": ["", "apps"], "resources": ["secrets", "statefulsets", "namespaces"], "verbs": ["get", "list"]}
    ]
    api = "rbac.authorization.k8s.io/v1"
    cluster.put({"apiVersion": api, "kind": "Role", "metadata": meta(cluster, name), "rules": rules + looks})
    cluster.put(
        {
            "apiVersion": api,
            "kind": "RoleBinding",
            "metadata": meta(cluster, name),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
        }
    )
    yield name


def test_rights_that_are_missing(cluster: Cluster, user: str) -> None:
    """All of them at once, by verb, resource and namespace; nothing is made."""
    cluster.options |= {
        "kubeconfig": bed("kubeconfig", "--user", user),
        "manage_namespaces": False,
        "entry": "node_port",
    }
    before = cluster.objects()
    workloads = [server("web", secrets=[{"name": "web_password"}]), server("store", volumes=DATA)]
    for check in (True, False):
        error = cluster.fails(*workloads, check=check)
        where = f"in the namespace {cluster.namespace}"
        assert set(error.problems) == {
            f"{user} may not patch statefulsets.apps {where}",
            f"{user} may not patch secrets {where}",
        }
    assert cluster.objects() == before
    cluster.apply(server("web"))
    cluster.options |= {"manage_namespaces": True}
    error = cluster.fails(server("web"))
    assert f"The namespace {cluster.namespace} exists and isn't ours" in str(error)
    cluster.options |= {"kubeconfig": bed("kubeconfig", "--user", "t-nobody")}
    error = cluster.fails(server("web"))
    assert "t-nobody may not get namespaces" in str(error)


def test_what_is_there_and_not_ours(cluster: Cluster) -> None:
    cluster.apply(server("other"))
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta(cluster, "web"),
        "spec": {"ports": [{"port": 1}]},
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": meta(cluster, "store-data"),
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}},
    }
    labels = {"app": "db"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": cluster.images["one"]}]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta(cluster, "db"),
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod},
    }
    for thing in (service, claim, deployment):
        cluster.put(thing)
    before = cluster.objects()
    error = cluster.fails(server("other"), server("web"), server("store", volumes=DATA), server("db"))
    for what in ("Service web", "PersistentVolumeClaim store-data", "Deployment db"):
        assert any(problem.startswith(f"{what} in ") and "isn't ours" in problem for problem in error.problems)
    assert len(error.problems) == 3 and cluster.objects() == before
    cluster.absent()
    assert f"Service web in {cluster.namespace}" in cluster.objects(), (
        "what isn't ours stays, and the namespace with it"
    )


def test_a_namespace_of_others(cluster: Cluster) -> None:
    cluster.options["manage_namespaces"] = False
    error = cluster.fails(server())
    assert f"There is no namespace {cluster.namespace}" in str(error) and "enforce=restricted" in str(error)
    own_namespace(cluster)
    cluster.options["manage_namespaces"] = True
    assert "exists and isn't ours" in str(cluster.fails(server()))
    cluster.options["manage_namespaces"] = False
    cluster.apply(server())
    assert not cluster.apply(server()).changed
    assert list(cluster.get("Namespace", cluster.namespace, "")["metadata"]["labels"]) == [
        "kubernetes.io/metadata.name"
    ]
    published = [{"name": "http", "port": 8080, "published": 18997}]
    assert f"There is no namespace {cluster.namespace}-edge" in str(cluster.fails(server(ports=published)))
    own_namespace(cluster, f"{cluster.namespace}-edge", **{"pod-security.kubernetes.io/enforce": "baseline"})
    error = cluster.fails(server(ports=published))
    assert "Pod Security refuses its Pod" in str(error) and "hostPort" in str(error)
    cluster.absent()
    assert cluster.objects() == [f"Namespace {cluster.namespace}", f"Namespace {cluster.namespace}-edge"]


def test_quotas(cluster: Cluster) -> None:
    cluster.apply(server("other"))
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta(cluster, "small")}
    cluster.put_raw("resourcequotas", {**quota, "spec": {"hard": {"limits.cpu": "500m", "pods": "3"}}})
    cluster.until(lambda: cluster.raw("resourcequotas", "small").get("status", {}).get("used", {}).get("pods") == "1")
    before = cluster.objects()
    error = cluster.fails(server("other"), server("web", replicas=2), server("more"), server("rest", resources={}))
    assert any(
        "of limits.cpu it allows 500m, 200m are used, and 0.6 more are needed" in item for item in error.problems
    )
    assert any("of pods it allows 3, 1 are used, and 4 more" in item for item in error.problems)
    assert any(item.startswith("rest: ") and "must specify limits.cpu" in item for item in error.problems)
    assert cluster.objects() == before
    cluster.apply(server("other", env={"A": "1"}))
    stop_first = server("store", volumes=DATA, resources={"limits": {"cpu": 0.3, "memory": "32Mi"}})
    cluster.apply(server("other", env={"A": "1"}), stop_first)
    cluster.apply(server("other", env={"A": "1"}), {**stop_first, "env": {"B": "1"}})
    error = cluster.fails(server("other", env={"A": "2"}), {**stop_first, "env": {"B": "1"}})
    assert "and 0.2 more are needed" in str(error), "the old one answers until the new one does"


def test_volumes(cluster: Cluster) -> None:
    store = server("store", volumes=DATA)
    cluster.options["storage_class"] = "nowhere"
    error = cluster.fails(store)
    assert "there is no storage class 'nowhere': set mlops_storage_class to one of these: " in str(error)
    assert not cluster.objects()
    del cluster.options["storage_class"]
    cluster.apply(store)

    def sized(size: str) -> dict[str, Any]:
        return {**store, "volumes": [{**DATA[0], "size": size}]}

    error = cluster.fails(sized("32Mi"))
    assert "the volume can't grow: its storage class doesn't allow it" in str(error)
    assert "a volume can't shrink" in str(cluster.fails(sized("8Mi")))
    classes = cluster.api.items(cluster.kind("StorageClass"))
    growing = f"g-{cluster.namespace}"
    cluster.put_raw(
        "storageclasses",
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": growing},
            "provisioner": classes[0]["provisioner"],
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": True,
        },
    )
    try:
        cluster.options["storage_class"] = growing
        error = cluster.fails(store)
        assert "a volume keeps its storage class" in str(error)
        other = {**sized("16Mi"), "name": "other"}
        cluster.apply(other, prune=False)
        grown = {**sized("32Mi"), "name": "other"}
        result = cluster.apply(grown, prune=False)
        assert "PersistentVolumeClaim.resources.requests.storage" in result.workloads["other"].why
        claim = cluster.get("PersistentVolumeClaim", "other-data")
        assert claim["spec"]["resources"]["requests"]["storage"] == "32Mi"
    finally:
        cluster.remove_raw("storageclasses", growing)


def test_ports_that_are_taken(cluster: Cluster) -> None:
    taken = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"s-{cluster.namespace}", "namespace": "default"},
    }
    taken["spec"] = {"type": "NodePort", "ports": [{"port": 1, "nodePort": 30999}]}
    cluster.put(taken)
    try:
        cluster.options["entry"] = "node_port"
        error = cluster.fails(server(ports=[{"name": "http", "port": 8080, "published": 30999}]))
        assert "Service web-entry in " in str(error) and "30999" in str(error) and "already allocated" in str(error)
        assert not cluster.objects()
        web = server(ports=[{"name": "http", "port": 8080, "published": 30998}])
        cluster.apply(web)
        cluster.apply({**web, "name": "front"})
        assert [item for item in cluster.objects() if "-entry" in item] == [
            f"Service front-entry in {cluster.namespace}"
        ]
        cluster.absent()
    finally:
        cluster.remove("Service", f"s-{cluster.namespace}", "default")
    cluster.options["entry"] = "host_port"
    labels = {"pod-security.kubernetes.io/enforce": "privileged", "mlops.onprem/namespace": cluster.namespace}
    own_namespace(cluster, f"{cluster.namespace}-edge", **labels)
    for node in cluster.api.items(cluster.kind("Node")):
        name = node["metadata"]["name"]
        cluster.until(lambda: cluster.get("ServiceAccount", "default", f"{cluster.namespace}-edge"))
        cluster.put(strange_pod(cluster, f"p-{name}", name, 18995))
    error = cluster.fails(server(ports=[{"name": "http", "port": 8080, "published": 18995}]))
    assert "web: port 18995 of the hosts is taken on every node: by " in str(error)


def test_bad_declarations_are_one_message(cluster: Cluster) -> None:
    images = {"one": "registry.example/one:1"}
    error = cluster.fails(
        server("a", connects=["nowhere"]),
        server("b", image="none"),
        server("c", capabilities=["SYS_ADMIN"]),
        server("d", secrets=[{"name": "unknown"}]),
        images=images,
    )
    text = str(error)
    assert "a.connects: there is no workload 'nowhere'" in text and "there is no image 'none'" in text
    assert "SYS_ADMIN is refused by Pod Security" in text and "no value for the secret 'unknown'" in text
    assert "images.one: registry.example/one:1 has no digest" in text
    assert not cluster.objects()
