# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The plugin as users run it, on a control host that reaches no cluster."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

sys.path.insert(0, str(Path(__file__).parent))

from declared import IMAGES, MODELS, PLATFORM, REGISTRY, SECRETS

COLLECTION = Path(__file__).resolve().parents[3]
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - mlops.onprem.workload_manifest: "{{ item.arguments }}"
      loop: "{{ steps }}"
      check_mode: "{{ item.check }}"
      diff: true
      register: outcome
      ignore_errors: true
      no_log: false
      loop_control: {label: "{{ item.arguments.set }}"}
    - ansible.builtin.copy:
        dest: "{{ result_file }}"
        content: "{{ outcome.results | map('combine', {'item': ''}) | to_json }}"
        mode: "0600"
      delegate_to: localhost
      vars: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
"""


class Runner:
    """Runs the plugin for one target, as often as there are steps."""

    def __init__(self, folder: Path, target: str) -> None:
        self.folder = folder
        self.target = target
        self.dest = folder / "out" / target
        self.output = ""
        (folder / "play.yml").write_text(PLAYBOOK)

    def step(self, workloads: Any = PLATFORM, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {
            "target": self.target,
            "namespace": "t",
            "dest": str(self.folder / "out"),
            "set": "platform",
            "workloads": workloads,
            "images": IMAGES,
            "secret_values": SECRETS,
            "registry_auth": REGISTRY,
            "domain": "example.org",
            "live": "never",
        }
        return {"check": check, "arguments": {**given, **arguments}}

    def __call__(self, *steps: dict[str, Any], host: str = "localhost") -> list[dict[str, Any]]:
        result = self.folder / "result.json"
        extra = self.folder / "extra.json"
        values: dict[str, Any] = {"steps": list(steps), "result_file": str(result)}
        if host == "localhost":
            values |= {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        extra.write_text(json.dumps(values))
        environment = {
            "ANSIBLE_CONFIG": str(COLLECTION / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTION / ".collections"),
            "ANSIBLE_LOCAL_TEMP": str(self.folder),
            "ANSIBLE_NOCOLOR": "1",
        }
        process = subprocess.run(
            [
                *(sys.executable, "-m", "ansible", "playbook", "-i", f"{host},"),
                *(str(self.folder / "play.yml"), "-e", f"@{extra}"),
            ],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        self.output = process.stdout + process.stderr
        assert process.returncode == 0, self.output
        found: list[dict[str, Any]] = json.loads(result.read_text())
        return found

    def files(self) -> dict[str, str]:
        return {str(path.relative_to(self.dest)): path.read_text() for path in self.dest.rglob("*") if path.is_file()}


@pytest.fixture(params=["swarm", "kubernetes"])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Runner:
    return Runner(tmp_path, request.param)


def test_a_life(runner: Runner) -> None:
    would, first, again, models, platform_again, models_again = runner(
        runner.step(check=True),
        runner.step(),
        runner.step(),
        runner.step(MODELS, set="models"),
        runner.step(),
        runner.step(MODELS, set="models"),
    )
    assert first["changed"]
    assert models["changed"]
    assert not [step for step in (again, platform_again, models_again) if step["changed"]]
    # Check mode tells what a run does, and had written nothing.
    assert would["written"] == first["written"]
    assert would["diff"] == first["diff"]
    assert "The cluster was not asked" in first["notes"]
    assert any(note.startswith("Named without a digest") and note.endswith(": two") for note in first["notes"])
    files = runner.files()
    assert sorted(models["files"]) == sorted(set(files) - {".manifests.json"})
    assert "models/model-iris.yaml" in files
    if runner.target == "kubernetes":
        listed = yaml.safe_load(files["kustomization.yaml"])["resources"]
        assert listed[0] == "namespaces.yaml"
        assert sorted(listed) == sorted(set(files) - {"kustomization.yaml", "SECRETS.yaml", ".manifests.json"})
    else:
        zones = {item["Name"] for item in yaml.safe_load_all(files["networks.yaml"])}
        assert zones == {"t_edge", "t_data", "t_models"}
    secrets = yaml.safe_load(files["SECRETS.yaml"])
    assert {value for item in secrets for value in item["keys"].values()} >= {"store_password", "certificate_key"}
    # Nothing that was written or said has a secret in it.
    everything = "\n".join([*files.values(), runner.output, json.dumps([would, first, models])])
    for value in SECRETS.values():
        assert value not in everything


def test_secrets_go_along_encrypted_where_asked_for(runner: Runner) -> None:
    key = runner.folder / "key"
    key.write_text("a key\n")
    key.chmod(0o600)
    first, again, other, without = runner(
        runner.step(vault_key_file=str(key)),
        runner.step(vault_key_file=str(key)),
        runner.step(vault_key_file=str(key), secret_values={**SECRETS, "store_password": "another value"}),
        runner.step(vault_key_file=str(runner.folder / "none")),
    )
    assert "platform/SECRETS.vault.yaml" in first["written"]
    assert not again["changed"]
    assert "platform/SECRETS.vault.yaml" in other["written"]
    assert without["failed"]
    text = runner.files()["platform/SECRETS.vault.yaml"]
    objects = list(yaml.safe_load_all(VaultLib([("default", VaultSecret(b"a key"))]).decrypt(text)))
    listed = {item["name"] for item in yaml.safe_load(runner.files()["SECRETS.yaml"])}
    if runner.target == "kubernetes":
        assert {item["metadata"]["name"] for item in objects} == listed
        assert "SECRETS" not in runner.files()["kustomization.yaml"]
        values = [value for item in objects for value in item["data"].values()]
    else:
        assert {item["Name"] for item in objects} == listed
        values = [item["Data"] for item in objects]
    assert base64.b64encode(b"another value").decode() in values
    assert runner(runner.step())[0]["removed"] == ["platform/SECRETS.vault.yaml"]


def test_what_is_no_longer_declared_goes(runner: Runner) -> None:
    runner(runner.step(), runner.step(MODELS, set="models"))
    (runner.dest / "platform" / "notes.txt").write_text("mine")
    page = ["platform/page-job.yaml", "platform/page.yaml"] if runner.target == "swarm" else ["platform/page.yaml"]
    less = [item for item in PLATFORM if item["name"] != "page"]
    would, gone, empty = runner(runner.step(less, check=True), runner.step(less), runner.step([]))
    assert would["removed"] == gone["removed"] == page
    assert "platform/store.yaml" in empty["removed"]
    assert "platform" not in json.loads(runner.files()[".manifests.json"])["sets"]
    assert "models/model-iris.yaml" in runner.files()
    assert "platform/notes.txt" in runner.files()
    runner(runner.step([], set="models"))
    assert runner.files() == {"platform/notes.txt": "mine"}


def test_nothing_is_written_when_something_is_wrong(runner: Runner) -> None:
    leaking = {**PLATFORM[2], "env": {"PASSWORD": SECRETS["store_password"]}}
    outcomes = runner(
        runner.step(secret_values={}),
        runner.step(MODELS, set="models"),
        runner.step(set="../etc"),
        runner.step([leaking]),
    )
    messages = [outcome["msg"] for outcome in outcomes]
    assert "there is no value for the secret 'store_password'" in messages[0]
    assert "there is no workload 'page'" in messages[1]
    assert "is not a name of lower-case letters" in messages[2]
    assert "store.env.PASSWORD: holds the value of the secret store_password" in messages[3]
    assert all(outcome["failed"] for outcome in outcomes)
    assert not runner.dest.exists()


@pytest.mark.parametrize("host", ["localhost", "unreachable.invalid"])
def test_without_a_cluster_it_goes_on_unless_told_otherwise(runner: Runner, host: str) -> None:
    """Neither a manager that can't be reached nor a cluster that doesn't answer is in the way of a review."""
    options: dict[str, Any] = {
        "docker_host": "unix:///nonexistent/docker.sock",
        "kubernetes": {"kubeconfig": str(runner.folder / "nothing")},
    }
    must, may, without = runner(
        runner.step(live="always", **options), runner.step(live="auto", **options), runner.step(), host=host
    )
    assert must["failed"]
    assert must["msg"].startswith("The cluster can't be asked: ")
    assert not may["live"]
    assert any(note.startswith("The cluster could not be asked (") for note in may["notes"])
    assert not without["changed"]
