# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is written is what a Swarm has after the set was applied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.onprem.plugins.module_utils._workload.rendering import decode
from ansible_collections.mlops.onprem.plugins.module_utils._workload.swarm.live import comparable, differences, read
from small_set import Modules, declared

from tests.integration.workload.cluster import IMAGES, Cluster, base_image, build_images

NAMESPACE = "t-manifest"
SECRETS = {"page_password": "correct horse battery staple"}


@pytest.fixture
def options() -> Iterator[dict[str, Any]]:
    cluster = Cluster(NAMESPACE)
    try:
        cluster.engine.get("/nodes")
    except Exception as error:
        pytest.skip(f"no Swarm here: {error}")
    base = base_image(cluster.engine)
    if base is None:
        pytest.skip("no base image here: site.yml builds it")
    build_images(cluster.engine, base)
    cluster.clean()
    yield {
        "target": "swarm",
        "namespace": NAMESPACE,
        "set": "platform",
        "workloads": declared("one", ["python3", "/page_server.py", "8080", "0"]),
        "images": IMAGES,
        "secret_values": SECRETS,
        "domain": "example.org",
        "registry_auth": {"username": "puller", "password": "opens the registry", "server": "registry.example.org"},
    }
    cluster.clean()


def test_written_is_applied(modules: Modules, options: dict[str, Any], tmp_path: Path) -> None:
    modules("workload", **options, wait_timeout=120)
    written = modules("workload_manifest", **options, dest=str(tmp_path / "out"), live="always")
    assert written["live"]
    engine = Cluster(NAMESPACE).engine
    snapshot = read(engine, NAMESPACE)
    root = tmp_path / "out" / "swarm"
    specs = [
        yaml.safe_load(path.read_text()) for path in (root / "platform").glob("*.yaml") if path.name != "configs.yaml"
    ]
    assert {spec["Name"] for spec in specs} == set(snapshot.services)
    for spec in specs:
        live = snapshot.services[spec["Name"]]["Spec"]
        assert differences(comparable(live, snapshot.network_names), comparable(spec)) == []
    configs = {item["Name"]: item for item in yaml.safe_load_all((root / "platform/configs.yaml").read_text())}
    assert set(configs) == set(snapshot.configs)
    for name, item in configs.items():
        live = snapshot.configs[name]["Spec"]
        assert (root / "platform" / item["File"]).read_text() == decode(live["Data"])
        assert item["Labels"] == live["Labels"]
    listed = {item["name"]: item["labels"] for item in yaml.safe_load((root / "SECRETS.yaml").read_text())}
    assert listed == {name: item["Spec"]["Labels"] for name, item in snapshot.secrets.items()}
    networks = {item["Name"]: item for item in yaml.safe_load_all((root / "networks.yaml").read_text())}
    assert set(networks) == set(snapshot.networks)
    for name, item in networks.items():
        live = snapshot.networks[name]
        assert (live["Driver"], live["Internal"], live["Labels"]) == (item["Driver"], item["Internal"], item["Labels"])
    # Once applied, the cluster's facts are the same: nothing to write anew.
    assert not modules("workload_manifest", **options, dest=str(tmp_path / "out"), live="always")["changed"]
