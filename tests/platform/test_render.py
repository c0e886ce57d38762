# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What render.yml writes of an installed platform is what runs, and holds no secret."""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from installed import ROOT, Platform
from kubernetes_site import KubernetesSite
from swarm_site import SwarmSite

sys.path[:0] = [str(ROOT / ".collections"), str(ROOT)]

from ansible_collections.mlops.onprem.plugins.module_utils._workload.swarm.live import comparable, differences  # noqa: E402

from tests.integration.kubernetes.client import path  # noqa: E402

SETS = ("platform", "topics", "models")


@pytest.fixture(scope="module")
def written(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the target; a second run changes nothing in it."""
    folder = tmp_path_factory.mktemp("manifests")
    for changed in (True, False):
        done = platform.playbook("-e", f"render_dest={folder}", "-e", "render_live=always", name="render")
        assert done.code == 0, done.end
        assert (done.changed != {"0"}) == changed, done.end
    return folder / str(platform.facts["target"])


def documents(folder: Path) -> list[Any]:
    files = [file for file in folder.glob("*.yaml") if file.name != "configs.yaml"]
    return [thing for file in files for thing in yaml.safe_load_all(file.read_text())]


def test_written_is_what_runs_on_a_swarm(swarm: SwarmSite, written: Path) -> None:
    networks = {network.id: network.name for network in swarm.manager.networks.list()}
    live = {}
    for service in swarm.services():
        labels = service.attrs["Spec"]["Labels"]
        if labels["mlops.set"] in SETS and labels["mlops.kind"] in ("service", "job"):
            live[service.name] = comparable(service.attrs["Spec"], networks)
    specs = {spec["Name"]: comparable(spec) for name in SETS for spec in documents(written / name)}
    assert set(specs) == set(live)
    assert {name: differences(live[name], spec) for name, spec in specs.items()} == {name: [] for name in specs}


def test_applying_what_is_written_changes_nothing_on_kubernetes(kubernetes: KubernetesSite, written: Path) -> None:
    listed = yaml.safe_load((written / "kustomization.yaml").read_text())["resources"]
    things = [thing for file in listed for thing in yaml.safe_load_all((written / file).read_text())]
    assert len(things) > 20
    for thing in things:
        query = "?fieldManager=mlops.onprem&fieldValidation=Strict&dryRun=All"
        kept = kubernetes.ask(path(thing) + query, "PATCH", thing, "application/apply-patch+yaml")
        live = kubernetes.ask(path(thing))
        assert kept["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"], path(thing)
    secrets = yaml.safe_load((written / "SECRETS.yaml").read_text())
    for item in secrets:
        live = kubernetes.ask(f"/api/v1/namespaces/{item['namespace']}/secrets/{item['name']}")
        assert (sorted(live["data"]), live["type"]) == (sorted(item["keys"]), item["type"])


def test_no_secret_is_written(platform: Platform, written: Path) -> None:
    text = "\n".join(file.read_text() for file in written.rglob("*") if file.is_file())
    for name, value in platform.secrets.items():
        raw = value.encode()
        forms = {value, base64.b64encode(raw).decode()}
        forms |= {hashlib.new(algorithm, raw).hexdigest()[:10] for algorithm in ("md5", "sha1", "sha256", "sha512")}
        assert not [form for form in forms if form in text], name
