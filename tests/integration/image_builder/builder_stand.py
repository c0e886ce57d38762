# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the image builder is given, and what it says of it."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec import lock_digest, lock_lines
from image_site import COLLECTION, INVENTORY, PLAYBOOK, Run, Site, docker, our_table
from mlflow import ADMIN, PASSWORD, Mlflow

NAME, PORT, MODEL = "mlops-ib", 5057, "model-0123456789ab"
REGISTRY_PASSWORD = "correct horse battery staple"
EXAMPLE = COLLECTION / "examples" / "phishing"
LOCK = (EXAMPLE / "requirements.txt").read_text()
BUILDER = """
    - name: Run the image builder, or take it away
      ansible.builtin.include_role:
        name: mlops.onprem.images
        tasks_from: "{{ builder_verb }}"
      when: builder_verb is defined
"""


@dataclass
class Stand:
    site: Site
    mlflow: Mlflow
    images: dict[str, str]

    def run(self, verb: str = "builder", *options: str, **more: Any) -> Run:
        gateway = {"mlflow_url": self.mlflow.uri, "domain": "localhost", "address": "127.0.0.1", "ca": ""}
        given = {
            "builder_verb": verb,
            "mlops_images": self.images,
            "images_builder": True,
            "images_builder_config_dir": str(self.site.folder / "builder"),
            "mlops_gateway": gateway,
        }
        return self.site.run(*options, **{**given, **more})

    def version(self, lock: str, *, parent: str | None = None, digest: str | None = None) -> tuple[str, str]:
        """A model version that a retraining has registered with a lock; its model's name and its number."""
        name = f"m-{time.monotonic_ns()}"
        self.mlflow.api("POST", "registered-models/create", {"name": name})
        experiment = self.mlflow.api("POST", "experiments/create", {"name": name})["experiment_id"]
        run = self.mlflow.api("POST", "runs/create", {"experiment_id": experiment})["run"]["info"]
        place = re.sub(r"^mlflow-artifacts:", "", run["artifact_uri"]).lstrip("/")
        self._put(f"{place}/environment/requirements.txt", lock.encode())
        tags = {
            "mlops.environment": "model-ba9876543210",
            "mlops.requirements": lock_digest(lock) if digest is None else digest,
            "mlops.image.from": self.images[MODEL] if parent is None else parent,
        }
        body = {
            "name": name,
            "source": run["artifact_uri"],
            "run_id": run["run_id"],
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        made = self.mlflow.api("POST", "model-versions/create", body)["model_version"]
        return name, str(made["version"])

    def outcome(self, version: tuple[str, str], seconds: float = 300) -> dict[str, str]:
        """The version's tags, once the builder has said something of it."""
        deadline = time.monotonic() + seconds
        while True:
            query = f"model-versions/get?name={version[0]}&version={version[1]}"
            found = self.mlflow.api("GET", query)["model_version"]
            tags = {tag["key"]: tag["value"] for tag in found["tags"]}
            if tags.get("mlops.image") or tags.get("mlops.image.problem"):
                return tags
            assert time.monotonic() < deadline, logs()
            time.sleep(0.5)  # MLflow tells nobody: it is asked until then

    def _put(self, path: str, body: bytes) -> None:
        address = f"{self.mlflow.uri}/api/2.0/mlflow-artifacts/artifacts/{path}"
        login = urllib.request.HTTPPasswordMgrWithPriorAuth()
        login.add_password(None, self.mlflow.uri, ADMIN, PASSWORD, is_authenticated=True)
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(login))
        opener.open(urllib.request.Request(address, body, method="PUT"), timeout=30).close()


def builder_rows() -> dict[str, Any]:
    """The artefact table's row for a model's image, as the filter model_images makes it."""
    row = yaml.safe_load((COLLECTION / "roles/images/vars/artifacts.yml").read_text())["__images_artifacts"]
    made = json.loads(json.dumps(row["model_server"]))
    made["build"]["files"]["requirements.txt"] = {"content": "\n".join(lock_lines(LOCK)) + "\n"}
    assert our_table().recipe("model_server").bases == ("base", "python_build")
    return {MODEL: made}


def with_package(name: str) -> str:
    """The example's lock and one package more, as another lock of the example has it."""
    more = [
        line for line in lock_lines((EXAMPLE / "requirements-train.txt").read_text()) if line.startswith(f"{name}==")
    ]
    assert len(more) == 1, more
    return "\n".join([*lock_lines(LOCK), *more]) + "\n"


def make_play(folder: Path) -> None:
    (folder / "hosts.yml").write_text(INVENTORY)
    secrets = f"mlops_secret_values: {{mlflow_images_password: {PASSWORD}, registry_password: "
    play = PLAYBOOK.replace("mlops_secret_values: {registry_password: ", secrets)
    assert play != PLAYBOOK
    (folder / "play.yml").write_text(play + BUILDER)


def pull(address: str, *images: str) -> None:
    """As the registry's user."""
    with tempfile.TemporaryDirectory() as folder:
        docker("--config", folder, "login", "--username", NAME, "--password", REGISTRY_PASSWORD, address)
        for image in images:
            docker("--config", folder, "pull", "--quiet", image)


def logs() -> str:
    """All that the builder said: it says it on its standard error."""
    command = ["docker", "logs", f"{NAME}-image-builder"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


def clean_up() -> None:
    docker("rm", "--force", f"{NAME}-image-builder", check=False)
    docker("volume", "rm", f"{NAME}-image-builder", check=False)
