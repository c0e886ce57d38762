# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL, the object store and MLflow on this machine's Swarm, installed by their roles."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import httpx
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "platform"))

from sites import wait_for  # noqa: E402 - found only now

NAME = "t-data"
PORT = 15050
REGISTRY = os.environ.get("MLOPS_TEST_REGISTRY", "127.0.0.1:5000")


class Site:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = docker.from_env(timeout=120)
        self.variables: dict[str, Any] = {
            "ansible_python_interpreter": sys.executable,
            "mlops_host_python": sys.executable,
            "mlops_name": NAME,
            "registry_address": REGISTRY,
            "mlops_secrets_file": str(folder / "secrets.vault.yml"),
            "mlops_vault_key_file": str(folder / ".vault-key"),
            "mlops_images_source": "build",
            "mlops_images_lock_file": str(folder / "images.lock.yml"),
            "gateway_tls": False,
            "mlflow_tracking_uri": f"http://127.0.0.1:{PORT}",
            "mlflow_overrides": {"mlflow": {"ports": [{"name": "http", "port": 5000, "published": PORT}]}},
        }

    def play(self, playbook: str, *options: str, **variables: Any) -> str:
        """The play's output. Raises with it if the play fails."""
        command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", *options]
        command += ["-e", json.dumps({**self.variables, **variables}), str(Path(__file__).with_name(playbook))]
        process = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        )
        output = process.stdout + process.stderr
        if process.returncode:
            raise AssertionError(output[-6000:])
        return output

    def converge(self, *options: str, **variables: Any) -> str:
        return self.play("site.yml", *options, **variables)

    @staticmethod
    def changed(output: str) -> int:
        return int(re.findall(r"changed=(\d+)", output)[-1])

    @property
    def secrets(self) -> dict[str, str]:
        vault = VaultLib([("default", VaultSecret((self.folder / ".vault-key").read_bytes().strip()))])
        found: dict[str, str] = yaml.safe_load(vault.decrypt((self.folder / "secrets.vault.yml").read_bytes()))[
            "secrets"
        ]
        return found

    # MLflow

    def mlflow(self, user: str | None, password: str | None = None, **options: Any) -> httpx.Client:
        """A client of MLflow. The user's password is that of the vault unless one is given."""
        auth = (user, password or self.secrets[f"mlflow_{user}_password"]) if user else None
        return httpx.Client(base_url=f"http://127.0.0.1:{PORT}", auth=auth, timeout=60, trust_env=False, **options)

    # containers

    def container(self, workload: str) -> Any:
        def found() -> Any:
            filters = {"name": f"{NAME}_{workload}\\.", "status": "running"}
            return self.client.containers.list(filters=filters)

        return eventually(found, f"a running container of {workload}")[0]

    def run(self, workload: str, *command: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
        status, output = self.container(workload).exec_run(list(command), environment=environment or {})
        return status, output.decode(errors="replace")

    def python(self, workload: str, code: str) -> Any:
        """Runs code in a container; what it prints last is JSON."""
        status, output = self.run(workload, "/opt/venv/bin/python", "-c", code)
        assert status == 0, output
        return json.loads(output.strip().splitlines()[-1])

    def replace(self, workload: str) -> None:
        """A new task in the place of the old one, as when the workload moves."""
        before = self.container(workload).id
        command = ["docker", "service", "update", "--force", "--detach=true", "--quiet", f"{NAME}_{workload}"]
        subprocess.run(command, check=True, capture_output=True)
        eventually(lambda: self.container(workload).id != before and self.healthy(workload), f"{workload} healthy", 120)

    def healthy(self, workload: str) -> bool:
        return bool(self.container(workload).attrs["State"]["Health"]["Status"] == "healthy")


def eventually(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    return wait_for(condition, seconds=seconds, what=what)
