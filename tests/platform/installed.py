# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The installed platform, as an operator's tools see it.

MLOPS_INVENTORY names the inventory (default: the one of the molecule scenario `default`).
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass
class Platform:
    """Where the platform is, and what an operator knows of it."""

    inventory: Path
    variables: dict[str, Any]
    client: docker.DockerClient
    secrets: dict[str, str]

    @property
    def name(self) -> str:
        return str(self.variables.get("mlops_name", "mlops"))

    @property
    def url(self) -> str:
        """Of the gateway, as users write it."""
        return f"http://{self.variables.get('mlops_domain', 'localhost')}:{self.variables.get('gateway_http_port', 80)}"

    def services(self) -> list[Any]:
        return self.client.services.list(filters={"label": f"mlops.namespace={self.name}"})

    def containers(self) -> list[Any]:
        """Running containers: all tasks of the platform's services, and the site's registry."""
        tasks = [
            container
            for service in self.services()
            for container in self.client.containers.list(filters={"label": f"com.docker.swarm.service.id={service.id}"})
        ]
        return tasks + self.client.containers.list(filters={"name": f"^{self.name}-registry$"})

    def playbook(self, *arguments: str, name: str = "site") -> tuple[subprocess.CompletedProcess[str], float]:
        """Runs a playbook on this platform; returns what it printed and how many seconds it took."""
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ANSIBLE_NOCOLOR": "1",
        }
        environment["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
        begun = time.monotonic()
        done = subprocess.run(
            ["ansible-playbook", "-i", str(self.inventory), str(ROOT / "playbooks" / f"{name}.yml"), *arguments],
            cwd=ROOT,
            env=environment,
            text=True,
            capture_output=True,
            timeout=1500,
            check=False,
        )
        return done, time.monotonic() - begun


def wait_for(condition: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """Asks again and again until the condition holds; raises with what was waited for."""
    deadline = time.monotonic() + seconds
    last: BaseException | None = None
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except Exception as error:
            last = error
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds:.0f} s: {what}" + (f" ({last})" if last else ""))


def read_secrets(inventory: Path) -> dict[str, str]:
    """The values in the vaulted file of an inventory, flattened to name -> value."""
    key = (inventory / ".vault-key").read_bytes().strip()
    vault = VaultLib([("default", VaultSecret(key))])
    plain = yaml.safe_load(vault.decrypt((inventory / "secrets.vault.yml").read_bytes()))

    def leaves(prefix: str, value: Any) -> dict[str, str]:
        if isinstance(value, dict):
            return {
                k: v for name, child in value.items() for k, v in leaves(f"{prefix}.{name}".strip("."), child).items()
            }
        return {prefix: str(value)} if isinstance(value, str) else {}

    return leaves("", plain)
