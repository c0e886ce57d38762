# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Prefect's server, its migration and its worker with the arguments and the environment of the role's workloads."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from contained import ROOT, Containers
from gateway_client import Gateway
from pipelines import Pipelines
from postgresql import Postgresql
from process import free_port

DATABASE_PASSWORD = "the-database-s-password"
ADMIN_PASSWORD = "a-password-of-people"
LOGIN = f"admin:{ADMIN_PASSWORD}"
POOL = "default"
START = 600
"""Seconds that a server or a worker may take to start on a machine that has much else to do."""
DECLARE = """
- hosts: localhost
  gather_facts: false
  vars_files: ["{root}/playbooks/vars/platform.yml"]
  tasks:
    - ansible.builtin.set_fact:
        mlops_secret_values: "{{{{ given_secrets }}}}"
    - ansible.builtin.include_role: {{name: mlops.onprem.postgresql}}
    - ansible.builtin.include_role: {{name: mlops.onprem.prefect}}
    - ansible.builtin.copy: {{content: "{{{{ mlops_workloads | to_json }}}}", dest: "{{{{ out }}}}", mode: "0600"}}
"""
CONFIGURE = """
- hosts: localhost
  gather_facts: false
  vars_files: ["{root}/playbooks/vars/platform.yml"]
  tasks:
    - ansible.builtin.set_fact:
        mlops_secret_values: "{{{{ given_secrets }}}}"
    - ansible.builtin.include_role: {{name: mlops.onprem.prefect, tasks_from: "{{{{ verb }}}}"}}
"""
PREFLIGHT = """
- hosts: localhost
  gather_facts: false
  vars_files: ["{root}/playbooks/vars/platform.yml"]
  tasks:
    - ansible.builtin.include_role: {{name: mlops.onprem.prefect, tasks_from: preflight}}
      loop: "{{{{ sites }}}}"
      loop_control: {{loop_var: site}}
      vars:
        prefect_provider: external
        prefect_address: "{{{{ site.address }}}}"
        prefect_username: "{{{{ site.username }}}}"
        mlops_secrets_known: {{prefect_admin_password: "{{{{ site.password }}}}"}}
    - ansible.builtin.copy: {{content: "{{{{ mlops_problems | to_json }}}}", dest: "{{{{ out }}}}", mode: "0600"}}
"""


class Stand:
    """One site's Prefect."""

    def __init__(self, containers: Containers, database: Postgresql) -> None:
        self.containers = containers
        self.database = database
        self.port, self.metrics_port, self.worker_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.workloads = self._declared()

    def _declared(self) -> dict[str, Any]:
        """The workloads by name, as the role makes them."""
        out = self.containers.directory / "workloads.json"
        done = self.play(DECLARE, out=str(out))
        assert done.returncode == 0, done.stdout[-3000:]
        return {one["name"]: one for one in json.loads(out.read_text())}

    def play(self, text: str, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """A playbook on this machine, with the variables of this site."""
        folder = Path(tempfile.mkdtemp(dir=self.containers.directory))
        secrets = {
            "prefect_admin_password": ADMIN_PASSWORD,
            "prefect_db_password": DATABASE_PASSWORD,
            "postgresql_admin_password": "x",
        }
        given = {
            "given_secrets": secrets,
            "prefect_reach": f"{self.url}/api",
            "prefect_host_header": "",
            "prefect_worker_connects": [],
            "prefect_worker_registry": False,
            "prefect_worker_query_seconds": 1,
            "ansible_python_interpreter": sys.executable,
            **variables,
        }
        (folder / "vars.json").write_text(json.dumps(given))
        (folder / "play.yml").write_text(text.format(root=ROOT))
        (folder / "hosts.yml").write_text("mlops_managers: {hosts: {localhost: {ansible_connection: local}}}\n")
        command = [sys.executable, "-m", "ansible", "playbook", "-i", folder / "hosts.yml"]
        return subprocess.run(
            [*command, "-e", f"@{folder / 'vars.json'}", *arguments, folder / "play.yml"],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )

    def _environment(self, workload: dict[str, Any]) -> dict[str, str]:
        """The workload's own, but for where things are on this machine."""
        env = {name: value.replace("/run/secrets/", "/mnt/files/") for name, value in workload["env"].items()}
        places = {
            "PREFECT_SERVER_DATABASE_HOST": "127.0.0.1",
            "PREFECT_SERVER_DATABASE_PORT": str(self.database.port),
            "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_SERVER_UI_API_URL": f"http://prefect.localhost:{self.port}/api",
        }
        return env | {name: value for name, value in places.items() if name in env}

    def migrate(self) -> int:
        """The exit code."""
        migration = next(job for job in self.workloads["prefect"]["jobs"] if job["name"] == "prefect-migrate")
        return self.containers.run("migrate", *migration["args"][1:], **self._environment(migration))

    def start_server(self) -> None:
        """Returns when it is ready for requests."""
        server = self.workloads["prefect"]
        ports = {"PREFECT_SERVER_API_PORT": str(self.port), "MLOPS_METRICS_PORT": str(self.metrics_port)}
        self.containers.start("server", *server["args"][1:], **self._environment(server), **ports)
        self.containers.wait_for(lambda: answers(f"{self.url}/api/ready"), START, "server")

    def start_worker(self) -> None:
        """Returns when it looks for runs."""
        worker = self.workloads["prefect-worker"]
        port = {"PREFECT_WORKER_WEBSERVER_PORT": str(self.worker_port)}
        self.containers.start("worker", *worker["args"][1:], **self._environment(worker), **port)
        self.containers.wait_for(lambda: self.pool() == "READY", START, "worker")
        self.containers.wait_for(lambda: answers(f"http://127.0.0.1:{self.worker_port}/health"), START, "worker")

    @property
    def server_process(self) -> int:
        return self.containers.process("server")

    def problems(self, *sites: dict[str, str]) -> list[str]:
        """What the role says of such servers of the site's own, each with its address, username and password."""
        out = self.containers.directory / "problems.json"
        done = self.play(PREFLIGHT, out=str(out), sites=sites)
        assert done.returncode == 0, done.stdout[-3000:]
        return list(json.loads(out.read_text()))

    def pool(self) -> str:
        """What the server thinks of the worker's pool."""
        pools = self.pipelines().api("POST", "/work_pools/filter", {})
        return next((str(pool["status"]) for pool in pools if pool["name"] == POOL), "")

    def pipelines(self, token: str = "") -> Pipelines:
        """A client as people have it, to whom the server is behind a gateway."""
        return Pipelines(Gateway(f"http://localhost:{self.port}"), LOGIN, token, POOL)


def answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
        return True
    return False
