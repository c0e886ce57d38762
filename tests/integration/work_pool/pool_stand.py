# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Prefect, its worker and the agent as their roles declare them, in a namespace of their own; MLOPS_TEST_TARGET,
MLOPS_TEST_REGISTRY and MLOPS_TEST_IMAGES as for the agent's tests."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
for place in ("plugins/module_utils", "tests/integration/agent", "tests/conformance"):
    if str(ROOT / place) not in sys.path:
        sys.path.insert(0, str(ROOT / place))

from _workload import Backend, Observed, ObservedTask, Run  # noqa: E402 - found only now
from _workload.backends import backend  # noqa: E402
from gateway_client import Gateway  # noqa: E402
from targets import Target, chosen  # noqa: E402

NAMESPACE = "t-runs"
COMPONENTS = ["postgresql", "prefect", "agent", "gateway"]
PORT, TLS_PORT = 18081, 18444
POOL = "cluster"
RUNS = "runs.pipelines"
ADMIN_PASSWORD = "a-password-of-people"
SECRETS = {
    "prefect_admin_password": ADMIN_PASSWORD,
    "prefect_db_password": "the-database-s-password",
    "postgresql_admin_password": "the-password-of-the-database-s-admin",
    "agent_token_operator": "o" * 48,
    "agent_token_pipelines": "the-token-of-the-pipelines-worker",
    "warehouse_password": "a-password-that-runs-may-ask-for",
}
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
START = 400
"""Seconds that a run may take to begin on a machine that has much else to do."""
FLOWS = (Path(__file__).parent / "flows.py").read_text()


@dataclass
class Stand:
    target: Target
    seam: Backend
    images: Mapping[str, str]
    secret_values: Mapping[str, str]
    platform: list[dict[str, Any]]
    folder: Path
    variables: Mapping[str, Any]
    gateway: Gateway | None = None
    deployments: dict[str, str] = field(default_factory=dict)

    def apply_platform(self, **changes: dict[str, Any]) -> None:
        workloads = [{**workload, **changes.get(workload["name"], {})} for workload in self.platform]
        self.seam.apply("platform", workloads, images=self.images, secret_values=self.secret_values)
        self.gateway = Gateway(f"http://localhost:{PORT}", self.target.address(self.task("gateway")))

    def configure(self) -> None:
        variables = {**self.variables, "mlops_images": dict(self.images)}
        if self.gateway is not None:
            variables["prefect_reach"] = f"http://{self.gateway.connects_to}:{PORT}/api"
        play(self.folder, "configure", **variables)

    def observed(self, name: str) -> Observed:
        return next(item for item in self.seam.observe() if item.name == name)

    def task(self, name: str) -> ObservedTask:
        return min((task for task in self.observed(name).tasks if task.healthy), key=lambda task: task.id)

    def is_up(self, name: str) -> bool:
        return any(task.healthy for task in self.observed(name).tasks)

    def kill(self, name: str) -> None:
        """A container of the platform's, which comes back."""
        task = self.task(name)
        self.target.kill(task)
        eventually(lambda: task.id not in {one.id for one in self.observed(name).tasks if one.healthy}, 60)

    # Prefect, by its gateway

    def api(self, method: str, path: str, content: Any = None) -> Any:
        assert self.gateway is not None
        login = base64.b64encode(f"admin:{ADMIN_PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        body = None if content is None else json.dumps(content)
        told = ""
        for _ in range(10):  # a busy machine's server answers late, or not; all of this may be asked for twice
            try:
                answer = self.gateway.request(
                    f"/api{path}", subdomain="prefect", method=method, headers=headers, body=body
                )
            except OSError as error:
                told = f"{type(error).__name__}: {error}"
                continue
            if answer.status < 400:
                return answer.json() if answer.body else None
            told = f"{answer.status} {answer.text()}"
            assert answer.status >= 500, f"{method} {path}: {told}"
            time.sleep(1)
        raise AssertionError(f"{method} {path}: {told}")

    def pool(self) -> dict[str, Any]:
        return next((pool for pool in self.api("POST", "/work_pools/filter", {}) if pool["name"] == POOL), {})

    def begin(self, what: str, seconds: int = 0, **job_variables: Any) -> str:
        """The id of a run of the tests' flow."""
        if not self.deployments:
            code = base64.b64encode(FLOWS.encode()).decode()
            script = f"python3 -c \"import base64; open('flows.py', 'wb').write(base64.b64decode('{code}'))\""
            body = {
                "name": "probe",
                "flow_id": self.api("POST", "/flows/", {"name": "probe"})["id"],
                "work_pool_name": POOL,
                "entrypoint": "flows.py:probe",
                "pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": script}}],
                "job_variables": {"memory_limit": "400Mi", "scratch_size": "64Mi"},
                "parameter_openapi_schema": {"type": "object", "properties": {}},
            }
            self.deployments["probe"] = self.api("POST", "/deployments/", body)["id"]
        body = {"parameters": {"what": what, "seconds": seconds}, "job_variables": job_variables}
        body |= {"idempotency_key": uuid.uuid4().hex}
        return str(self.api("POST", f"/deployments/{self.deployments['probe']}/create_flow_run", body)["id"])

    def state(self, run: str) -> tuple[str, str]:
        """Type and message."""
        found = self.api("GET", f"/flow_runs/{run}")["state"]
        return str(found["type"]), str(found["message"] or "")

    def said(self, run: str) -> str:
        found = self.api("POST", "/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200})
        return "\n".join(line["message"] for line in found)

    def wait_said(self, run: str, words: str, seconds: float = START) -> None:
        eventually(lambda: words in self.said(run), seconds, lambda: self.story(run))

    def end(self, run: str, seconds: float = START) -> tuple[str, str]:
        eventually(lambda: self.state(run)[0] in FINAL, seconds, lambda: self.story(run))
        return self.state(run)

    def cancel(self, run: str) -> None:
        self.api("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})

    def job(self, run: str) -> Run | None:
        found = [job for job in self.seam.runs(RUNS) if job.labels.get("prefect.flow-run") == run]
        return found[0] if found else None

    def is_collected(self, run: str, seconds: float = 120) -> None:
        eventually(lambda: self.job(run) is None, seconds, lambda: self.story(run))

    def runs_now(self, run: str) -> None:
        self.wait_said(run, "second 0")

    def story(self, run: str) -> str:
        worker = "\n".join(self.seam.logs("prefect-worker", lines=30))
        return f"{self.state(run)}\n{self.said(run)}\n{self.job(run)}\n{worker}"

    def remove(self) -> None:
        for name in (RUNS, "platform"):
            self.seam.absent(name, remove_volumes=True)


def play(folder: Path, verb: str, **variables: Any) -> dict[str, Any]:
    """What the roles declare or do with these variables."""
    inventory, result, file = folder / "hosts.yml", folder / "stand.json", folder / f"{verb}.json"
    inventory.write_text("mlops_managers: {hosts: {localhost: {ansible_connection: local}}}\n")
    file.write_text(json.dumps({"stand_verb": verb, "stand_file": str(result), **variables}))
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "ansible-playbook", "-i", inventory, "-e", f"@{file}"),
            Path(__file__).parent / "stand.yml",
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    found: dict[str, Any] = json.loads(result.read_text())
    return found


@contextmanager
def standing(folder: Path) -> Iterator[Stand]:
    target = chosen()
    variables: dict[str, Any] = {
        "ansible_python_interpreter": sys.executable,
        "mlops_name": NAMESPACE,
        "mlops_components": COMPONENTS,
        "registry_address": os.environ.get("MLOPS_TEST_REGISTRY", "127.0.0.1:5000"),
        "gateway_http_port": PORT,
        "gateway_https_port": TLS_PORT,
        "gateway_tls": False,
        "postgresql_data_size": "1Gi",
        "prefect_worker_type": "cluster",
        "prefect_worker_query_seconds": 1,
        "prefect_run_secrets": ["warehouse_password"],
        "stand_secret_values": SECRETS,
        **target.variables,
    }
    if given := os.environ.get("MLOPS_TEST_IMAGES"):
        variables["mlops_images"] = json.loads(given)
    found = play(folder, "declare", **variables)
    seam = backend(target.name, NAMESPACE, domain="localhost", wait_timeout=300, **target.options())
    try:
        images = target.bring(found["images"])
        stand = Stand(target, seam, images, found["secret_values"], found["workloads"], folder, variables)
        try:
            stand.apply_platform()
            stand.configure()
            eventually(lambda: stand.pool().get("status") == "READY", START, lambda: seam.logs("prefect-worker"))
            yield stand
        finally:
            stand.remove()
    finally:
        target.forget()


def eventually(condition: Callable[[], Any], seconds: float, what: Callable[[], Any] = str) -> Any:
    """What the condition answers once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not in {seconds} s: {what()}"
        time.sleep(0.3)
    return found
