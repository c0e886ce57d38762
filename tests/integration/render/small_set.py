# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the modules workload and workload_manifest as users do, with the same options, on a small set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]

PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - name: Do it
      mlops.onprem.workload: "{{ arguments }}"
      when: module == 'workload'
      register: applied
    - mlops.onprem.workload_manifest: "{{ arguments }}"
      when: module == 'workload_manifest'
      register: written
    - ansible.builtin.copy:
        dest: "{{ result_file }}"
        content: "{{ (applied if module == 'workload' else written) | to_json }}"
        mode: "0600"
"""


class Modules:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "play.yml").write_text(PLAYBOOK)

    def __call__(self, module: str, **arguments: Any) -> dict[str, Any]:
        result, extra = self.folder / "result.json", self.folder / "extra.json"
        extra.write_text(json.dumps({"module": module, "arguments": arguments, "result_file": str(result)}))
        environment = {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_LOCAL_TEMP": str(self.folder),
            "ANSIBLE_NOCOLOR": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", str(self.folder / "play.yml"), "-e", f"@{extra}"],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(result.read_text())
        return found


def declared(image: str, command: list[str]) -> list[dict[str, Any]]:
    """A page with a job, config and secret, and a store with data that it connects to."""
    served = {"ports": [{"name": "http", "port": 8080}], "probes": {"liveness": {"tcp": {"port": "http"}}}}
    small = {"resources": {"limits": {"cpu": 0.5, "memory": "64Mi"}}, "stop_grace": 1, "update": {"health_window": 5}}
    return [
        {
            "name": "store",
            "image": image,
            "args": command,
            "volumes": [{"name": "data", "path": "/data", "size": "16Mi"}],
            "zone": "data",
            **served,
            **small,
        },
        {
            "name": "page",
            "image": image,
            "args": command,
            "env": {"HASH": "12e45", "YES": "yes"},
            "configs": [{"path": "/etc/page.ini", "content": "[page]\ncolour = red\n\n# trailing \n"}],
            "secrets": [{"name": "page_password"}],
            "scratch": [{"path": "/tmp", "size": "1Mi"}],
            "routes": [{"name": "page", "host": "page", "port": "http"}],
            "metrics": {"port": "http"},
            "zone": "edge",
            "connects": ["store"],
            "replicas": 2,
            "jobs": [
                {"name": "page-job", "image": image, "args": ["true"], "secrets": [{"name": "page_password"}], **_JOB}
            ],
            **served,
            **small,
        },
    ]


_JOB = {"connects": ["store"], "stop_grace": 1}
