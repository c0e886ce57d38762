# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A site whose registry and images the roles themselves make, seen from outside."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

COLLECTION = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(COLLECTION / ".collections"))

from ansible_collections.mlops.onprem.plugins.module_utils._images.docker_cli import find_buildkit  # noqa: E402
from ansible_collections.mlops.onprem.plugins.module_utils._images.make import KEY_LABEL  # noqa: E402
from ansible_collections.mlops.onprem.plugins.module_utils._images.recipe import Table  # noqa: E402

INVENTORY = """
mlops:
  hosts:
    localhost:
      ansible_connection: local
      ansible_python_interpreter: "{{ ansible_playbook_python }}"
"""
PLAYBOOK = """
- hosts: mlops
  gather_facts: false
  vars:
    mlops_secret_values: {registry_password: "correct horse battery staple"}
  tasks:
    - ansible.builtin.include_role:
        name: mlops.onprem.registry
        tasks_from: "{{ registry_verb | default('main') }}"
    - when: images_wanted is defined
      block:
        - ansible.builtin.include_role: {name: mlops.onprem.images}
        - ansible.builtin.copy:
            content: "{{ mlops_images | to_json }}"
            dest: "{{ inventory_dir }}/result.json"
            mode: "0644"
          check_mode: false
          changed_when: false
"""


@dataclass
class Run:
    status: int
    output: str
    images: dict[str, str]

    @property
    def changed(self) -> int:
        return sum(int(part.split("=")[1]) for part in self.output.split() if part.startswith("changed="))


@dataclass
class Site:
    """One inventory. *name* is the platform's; its registry's container and volume are called after it."""

    folder: Path
    name: str
    address: str

    def run(self, *options: str, fails: bool = False, timeout: float = 900, **variables: Any) -> Run:
        result = self.folder / "result.json"
        result.unlink(missing_ok=True)
        variables = {
            "mlops_name": self.name,
            "registry_address": self.address,
            "registry_config_dir": str(self.folder / "config"),
            "images_log_dir": str(self.folder / "log"),
            "mlops_images_source": "build",
            **variables,
        }
        done = subprocess.run(
            [
                "ansible-playbook", "-i", self.folder / "hosts.yml", *options, "-e", json.dumps(variables),
                self.folder / "play.yml",
            ],
            cwd=COLLECTION,
            env={**os.environ, "ANSIBLE_CONFIG": str(COLLECTION / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        output = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, output
        return Run(done.returncode, output, json.loads(result.read_text()) if result.exists() else {})


def docker(*arguments: str | Path, check: bool = True, timeout: float = 300) -> str:
    command = find_buildkit()
    assert command is not None
    done = subprocess.run([command, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=timeout)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


def inspect(name: str, kind: str = "container") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker(kind, "inspect", name))[0]
    return found


def own_address() -> str:
    """An address of this host that isn't loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def our_table() -> Table:
    text = (COLLECTION / "roles/images/vars/artifacts.yml").read_text()
    return Table(yaml.safe_load(text)["__images_artifacts"], COLLECTION)


def lend(address: str, *names: str) -> None:
    """What the engine has already under the current key needn't be built again for a registry of another address."""
    table = our_table()
    for name in names:
        key = table.key(name)
        ids = docker("image", "ls", "--quiet", "--filter", f"label={KEY_LABEL}={key}").split()
        if ids:
            docker("tag", ids[0], f"{address}/{name}:{key}")


def clean(name: str, address: str) -> None:
    docker("rm", "--force", f"{name}-registry", check=False)
    docker("volume", "rm", f"{name}-registry", check=False)
    shown = "{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}"
    for pattern in ("*", "*/*"):
        found = docker("image", "ls", "--digests", "--format", shown, "--filter", f"reference={address}/{pattern}")
        for reference in found.split():
            if "<none>" not in reference:
                docker("image", "rm", reference, check=False)


def make_site(folder: Path, name: str, address: str) -> Site:
    (folder / "hosts.yml").write_text(INVENTORY)
    (folder / "play.yml").write_text(PLAYBOOK)
    return Site(folder, name, address)
