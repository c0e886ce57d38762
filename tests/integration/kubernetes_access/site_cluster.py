# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A cluster as its administrator has it, and users of it with fewer rights."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


def testbed(*words: str) -> str:
    done = subprocess.run(
        [ROOT / "bin" / "testbed", "kubernetes", *words], capture_output=True, text=True, check=False, timeout=1500
    )
    if done.returncode:
        raise RuntimeError(f"testbed {' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout.strip()


class Cluster:
    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self._made: list[dict[str, Any]] = []

    def kubectl(self, *words: str, given: str = "") -> str:
        done = subprocess.run(
            ["kubectl", *words],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def put(self, *things: dict[str, Any]) -> None:
        """Somebody else's objects, until the end."""
        self._made += things
        self.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(things)}))

    def clean(self) -> None:
        if self._made:
            made = json.dumps({"apiVersion": "v1", "kind": "List", "items": self._made[::-1]})
            self.kubectl("delete", "--wait=false", "--ignore-not-found", "--force", "-f", "-", given=made)

    def user(self, *words: str) -> str:
        """The path of another user's kubeconfig; only the bed makes some."""
        try:
            on_bed = testbed("kubeconfig") == str(self.kubeconfig)
        except RuntimeError:
            on_bed = False
        if not on_bed:
            pytest.skip("only this machine's own cluster makes users")
        return testbed("kubeconfig", *words)

    def config(self, folder: Path, **cluster: Any) -> str:
        """A copy of the kubeconfig with other fields of its cluster."""
        config = yaml.safe_load(self.kubeconfig.read_text())
        for entry in (config["clusters"][0]["cluster"], config["users"][0]["user"]):
            for key in ("certificate-authority", "client-certificate", "client-key"):
                if key in entry:
                    entry[key] = str((self.kubeconfig.parent / entry[key]).resolve())
        config["clusters"][0]["cluster"].update(cluster)
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return str(path)


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def role(name: str, where: str, user: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A Role and its binding; cluster-wide where no namespace is given."""
    prefix = "" if where else "Cluster"
    metadata = {"name": name, **({"namespace": where} if where else {})}
    api = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": f"{api}/v1", "kind": f"{prefix}Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{api}/v1",
            "kind": f"{prefix}RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": f"{prefix}Role", "name": name},
            "subjects": [{"apiGroup": api, "kind": "User", "name": user}],
        },
    ]
