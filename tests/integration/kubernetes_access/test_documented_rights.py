# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""With the roles that docs/ hands to administrators, and no others, the seam does all that it does."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.mlops.onprem.plugins.module_utils._kubernetes.access import Wanted, look
from ansible_collections.mlops.onprem.plugins.module_utils._workload.backends import backend
from cluster import bed_images
from site_cluster import ROOT, Cluster, namespace

SERVE = "mkdir -p /tmp/www; echo hello >/tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"
SMALL = {"limits": {"cpu": 0.2, "memory": "32Mi"}}


def documented(name: str, user: str) -> list[dict[str, Any]]:
    """The file's objects, under names of the test's own."""
    text = (ROOT / "docs" / "kubernetes-rights.yml").read_text()
    text = text.replace("name: ops}", f"name: {user}}}").replace("mlops-onprem", f"{name}-rights")
    text = text.replace("namespace: mlops-edge", f"namespace: {name}-edge").replace(
        "namespace: mlops\n", f"namespace: {name}\n"
    )
    return list(yaml.safe_load_all(text))


def workloads() -> list[dict[str, Any]]:
    server = {
        "image": "busybox",
        "args": ["sh", "-c", SERVE],
        "ports": [{"name": "http", "port": 8080}],
        "scratch": [{"path": "/tmp", "size": "1Mi"}],
        "resources": SMALL,
        "stop_grace": 1,
        "zone": "data",
    }
    prepare = {"name": "keeper-prepare", "kind": "job", "image": "busybox", "args": ["true"], "resources": SMALL}
    keeper = {
        **server,
        "name": "keeper",
        "volumes": [{"name": "data", "path": "/data", "size": "1Mi"}],
        "jobs": [prepare],
    }
    secrets = [{"name": "word", "path": "/run/word"}]
    agent = {
        **server,
        "name": "agent",
        "cluster_access": True,
        "connects": ["keeper"],
        "secrets": secrets,
        "replicas": 2,
    }
    entry = {**server, "name": "entry", "ports": [{"name": "http", "port": 8080, "published": 18094}]}
    return [keeper, agent, entry]


@pytest.mark.parametrize("managed", [False, True])
def test_they_suffice(cluster: Cluster, name: str, managed: bool) -> None:
    kubeconfig = cluster.user("--user", f"{name}-ops")
    cluster.put(
        *(namespace(one, **{"mlops.onprem/namespace": name} if managed else {}) for one in (name, f"{name}-edge"))
    )
    cluster.put(*documented(name, f"{name}-ops"))
    options = {"kubeconfig": kubeconfig, "manage_namespaces": managed}
    found = look(Wanted(name, options, {18094: "gateway_http_port"}))
    assert (found.problems, found.warnings) == ([], [])

    seam = backend("kubernetes", name, domain="test", wait_timeout=120, kubernetes=options)
    given: dict[str, Any] = {"images": bed_images("busybox"), "secret_values": {"word": "correct horse battery staple"}}
    first = seam.apply("platform", workloads(), **given)
    assert {outcome.status for outcome in first.workloads.values()} == {"healthy", "completed"}
    again = seam.apply("platform", workloads(), **given)
    assert not again.changed
    fewer = seam.apply("platform", workloads()[:2], **given)
    assert fewer.changed
    gone = seam.absent("platform", remove_volumes=True)
    assert gone.changed
    if not managed:
        assert (
            cluster.kubectl("-n", name, "get", "deployments,statefulsets,jobs,pvc,networkpolicies", "-o", "name") == ""
        )
