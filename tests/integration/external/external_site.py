# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The platform, installed by its own playbooks on this machine's Swarm, or on what the environment names:

MLOPS_TEST_INVENTORY  an inventory, of either target
MLOPS_TEST_REGISTRY   the registry's address
MLOPS_TEST_ADDRESS    this machine's address, as the platform's containers reach it
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from site_services import ADMIN_PASSWORD, BUCKET, DATABASE_PORT, KEYS, NAME, ROOT, Services

INVENTORY = {"mlops": {"children": {"mlops_managers": {"hosts": {"localhost": {}}}}}}
PREFECT = ("prefect", "prefect-worker")
HERE = {
    "ansible_python_interpreter": sys.executable,
    "ansible_connection": "local",
    "mlops_host_python": sys.executable,
    "mlops_domain": "localhost",
    "mlops_image_registry_provider": "external",
    "registry_address": "127.0.0.1:5000",
    "gateway_tls": False,
}
"""This machine's Swarm, with images from a registry that it has already."""


class Platform:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inventory = os.environ.get("MLOPS_TEST_INVENTORY") or str(folder / "hosts.json")
        (folder / "hosts.json").write_text(json.dumps(INVENTORY))
        self.variables: dict[str, Any] = {
            "mlops_name": NAME,
            "mlops_secrets_file": str(folder / "secrets.vault.yml"),
            "mlops_vault_key_file": str(folder / ".vault-key"),
            "mlops_images_source": "build",
            "mlops_images_lock_file": str(folder / "images.lock.yml"),
            "mlops_images_allow_evaluation": True,
            "gateway_http_port": 18100,
            "gateway_https_port": 18143,
            "preflight_memory_mb": 0,
            "preflight_disk_gb": 1,
            "mlops_models": [str(ROOT / "examples" / "phishing" / "model.yml")],
            # Beside another platform on two cores there is little that can be reserved.
            "prefect_overrides": {name: {"resources": {"requests": {"cpu": 0.01}}} for name in PREFECT},
        }
        if "MLOPS_TEST_INVENTORY" not in os.environ:
            self.variables |= HERE
        if "MLOPS_TEST_REGISTRY" in os.environ:
            self.variables["registry_address"] = os.environ["MLOPS_TEST_REGISTRY"]

    def with_services(self, services: Services) -> None:
        self.variables |= {
            "mlops_database_provider": "external",
            "mlops_database_host": services.address,
            "mlops_database_port": DATABASE_PORT,
            "mlops_database_ca": str(services.authority.path),
            "mlops_database_admin_user": "site_admin",
            "mlops_database_names": {"mlflow": "ml_registry", "mlflow_auth": "ml-accounts"},
            "mlops_database_users": {"mlflow": "ml_registry"},
            "mlops_object_store_provider": "external",
            "mlops_object_store_endpoint": services.endpoint_url,
            "mlops_object_store_ca": services.authority_text,
            "mlops_object_store_buckets": {"mlflow": BUCKET},
            "mlops_secrets": {
                "postgresql_admin_password": ADMIN_PASSWORD,
                "mlflow_s3_access_key": KEYS["mlflow"].access,
                "mlflow_s3_secret_key": KEYS["mlflow"].secret,
            },
        }

    def play(self, playbook: str | Path, *options: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        """A change of None takes a variable away; secrets are merged."""
        variables = {**self.variables, **changes}
        if "mlops_secrets" in changes:
            variables["mlops_secrets"] = {**self.variables["mlops_secrets"], **changes["mlops_secrets"]}
        (self.folder / "variables.json").write_text(
            json.dumps({name: value for name, value in variables.items() if value is not None})
        )
        path = ROOT / "playbooks" / f"{playbook}.yml" if isinstance(playbook, str) else playbook
        command = [sys.executable, "-m", "ansible", "playbook", "-i", self.inventory, *options]
        command += ["-e", f"@{self.folder / 'variables.json'}", str(path)]
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)

    def run(self, playbook: str | Path, *options: str, **changes: Any) -> str:
        done = self.play(playbook, *options, **changes)
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        return done.stdout + done.stderr

    def refused(self, playbook: str = "validate", **changes: Any) -> list[str]:
        """The problems that a run names instead of doing anything."""
        done = self.play(playbook, **changes)
        output = done.stdout + done.stderr
        assert done.returncode != 0, output[-3000:]
        assert "Nothing was touched" in output, output[-6000:]
        return list(dict.fromkeys(re.findall(r"^\s*-\s+(mlops_\w.*)$", output, re.MULTILINE)))

    @property
    def deployed(self) -> set[str]:
        """Names of the workloads that run."""
        found = self.folder / "deployed.json"
        self.run(Path(__file__).with_name("deployed.yml"), deployed_file=str(found))
        return set(json.loads(found.read_text()))

    @staticmethod
    def changed(output: str) -> list[str]:
        """What a run changed, task by task."""
        tasks = re.split(r"^TASK \[", output, flags=re.MULTILINE)[1:]
        return [task for task in tasks if re.search(r"^changed: ", task, re.MULTILINE)]

    @property
    def files(self) -> set[str]:
        """What is beside the inventory, its secrets among them."""
        return {path.name for path in self.folder.iterdir()} - {"variables.json", "deployed.json"}

    @property
    def secrets(self) -> dict[str, str]:
        vault = VaultLib([("default", VaultSecret((self.folder / ".vault-key").read_bytes().strip()))])
        text = vault.decrypt((self.folder / "secrets.vault.yml").read_bytes())
        found: dict[str, str] = yaml.safe_load(text)["secrets"]
        return found
