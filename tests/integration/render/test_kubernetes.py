# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is written is what a cluster has after the set was applied: applying it by hand changes nothing.

The cluster is that of MLOPS_KUBECONFIG, an administrator's kubeconfig, with MLOPS_KUBERNETES_IMAGE, a busybox by digest
that every node has or can pull; without them the bed of this machine, if it is up.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.mlops.onprem.plugins.module_utils._workload.backends import backend
from small_set import Modules, declared

from tests.integration.kubernetes.client import Client, path
from tests.integration.kubernetes.cluster import bed, bed_images

SERVE = ["httpd", "-f", "-p", "8080", "-h", "/etc"]
SECRETS = {"page_password": "correct horse battery staple"}


@pytest.fixture
def options() -> Iterator[dict[str, Any]]:
    try:
        kubeconfig = os.environ.get("MLOPS_KUBECONFIG") or bed("kubeconfig")
    except RuntimeError as error:
        pytest.skip(f"MLOPS_KUBECONFIG names no cluster, and there is no bed: {error}")
    name = f"t-rm-{secrets.token_hex(2)}"
    entry = declared("busybox", SERVE)
    gateway = {
        "name": "gateway",
        "image": "busybox",
        "args": SERVE,
        "ports": [{"name": "http", "port": 8080, "published": 18099}],
        "probes": {"liveness": {"tcp": {"port": "http"}}},
        "zone": "edge",
        "cluster_access": True,
        "connects": ["page"],
        "stop_grace": 1,
    }
    found = {
        "target": "kubernetes",
        "kubernetes": {"kubeconfig": kubeconfig},
        "namespace": name,
        "set": "platform",
        "workloads": [*entry, gateway],
        "images": {"busybox": os.environ.get("MLOPS_KUBERNETES_IMAGE") or bed_images("manifest")["manifest"]},
        "secret_values": SECRETS,
        "domain": "example.org",
        "registry_auth": {"username": "puller", "password": "opens the registry", "server": "registry.example.org"},
    }
    yield found
    backend("kubernetes", name, kubernetes=found["kubernetes"]).absent("platform", remove_volumes=True)
    client = Client(Path(kubeconfig))
    for namespace in (name, f"{name}-edge"):
        try:
            client.ask("DELETE", f"/api/v1/namespaces/{namespace}")
        except Exception as error:
            assert "404" in str(error), error


def test_written_is_applied(modules: Modules, options: dict[str, Any], tmp_path: Path) -> None:
    modules("workload", **options, wait_timeout=120)
    key = tmp_path / "key"
    key.write_text("a key")
    key.chmod(0o600)
    manifest = {**options, "dest": str(tmp_path / "out"), "live": "always", "vault_key_file": str(key)}
    written = modules("workload_manifest", **manifest)
    assert written["live"]
    root = tmp_path / "out" / "kubernetes"
    vaulted = VaultLib([("default", VaultSecret(b"a key"))]).decrypt((root / "platform/SECRETS.vault.yaml").read_text())
    kustomization = yaml.safe_load((root / "kustomization.yaml").read_text())
    files = [(root / name).read_text() for name in kustomization["resources"]] + [vaulted.decode()]
    # As text: the API server reads YAML otherwise than Python does.
    things = {text: yaml.safe_load(text) for file in files for text in file.split("\n---\n")[1:]}
    client = Client(Path(options["kubernetes"]["kubeconfig"]))
    for text, thing in things.items():
        live = client.ask("GET", path(thing))
        kept = client.apply(thing, text=text, dry_run=True)
        assert kept["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"], text
    # Nothing of ours is there that isn't in the files.
    known = {path(thing) for thing in things.values()}
    for namespace in (options["namespace"], f"{options['namespace']}-edge"):
        for group, kind in (
            ("api/v1", "configmaps"),
            ("api/v1", "secrets"),
            ("api/v1", "services"),
            ("api/v1", "serviceaccounts"),
            ("api/v1", "persistentvolumeclaims"),
            ("apis/apps/v1", "deployments"),
            ("apis/apps/v1", "statefulsets"),
            ("apis/batch/v1", "jobs"),
            ("apis/policy/v1", "poddisruptionbudgets"),
            ("apis/networking.k8s.io/v1", "networkpolicies"),
            ("apis/rbac.authorization.k8s.io/v1", "roles"),
            ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
        ):
            where = f"/{group}/namespaces/{namespace}/{kind}"
            selector = f"?labelSelector=mlops.onprem/namespace={options['namespace']}"
            for item in client.ask("GET", where + selector)["items"]:
                assert f"{where}/{item['metadata']['name']}" in known
    text = "".join(file.read_text() for file in root.rglob("*") if file.is_file() and "vault" not in file.name)
    for value in (*SECRETS.values(), "opens the registry"):
        assert value not in text
        assert base64.b64encode(value.encode()).decode() not in text
    assert not modules("workload_manifest", **manifest)["changed"]
