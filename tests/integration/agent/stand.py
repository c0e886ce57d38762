# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""An agent and a gateway as their roles declare them, in a namespace of their own.

MLOPS_TEST_TARGET says on which cluster (targets.py): this machine's Swarm, if nothing else.
MLOPS_TEST_REGISTRY says where the site's registry is, if not at 127.0.0.1:5000.
MLOPS_TEST_IMAGES (JSON: name -> reference) takes given images in the place of those that the role `images` brings.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
for folder in ("plugins/module_utils", "runtime/src", "tests/integration/agent"):
    if str(ROOT / folder) not in sys.path:
        sys.path.insert(0, str(ROOT / folder))

from _workload import Backend, Observed, ObservedTask  # noqa: E402 - found only now
from _workload.backends import backend  # noqa: E402 - found only now
from targets import Target, chosen  # noqa: E402

NAMESPACE = "t-agent"
PORT, TLS_PORT = 18080, 18443
ECHO = (Path(__file__).parent / "echo_server.py").read_text()


def declared(folder: Path, **variables: Any) -> dict[str, Any]:
    """What the roles declare with these variables: workloads, images, secret values."""
    inventory, result = folder / "hosts.yml", folder / "stand.json"
    inventory.write_text("mlops_managers: {hosts: {localhost: {ansible_connection: local}}}\n")
    more: dict[str, Any] = {
        "ansible_python_interpreter": sys.executable,
        "mlops_name": NAMESPACE,
        "registry_address": os.environ.get("MLOPS_TEST_REGISTRY", "127.0.0.1:5000"),
        "gateway_http_port": PORT,
        "gateway_https_port": TLS_PORT,
        "gateway_tls": False,
        "stand_secret_values": {"agent_token_operator": "o" * 48},
        "stand_file": str(result),
        **variables,
    }
    if given := os.environ.get("MLOPS_TEST_IMAGES"):
        more["mlops_images"] = json.loads(given)
    variables_file = folder / "variables.json"
    variables_file.write_text(json.dumps(more))
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "ansible-playbook", "-i", inventory, "-e", f"@{variables_file}"),
            Path(__file__).parent / "stand.yml",
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def echo_workload(name: str = "echo", replicas: int = 2, **more: Any) -> dict[str, Any]:
    """A small server that tells who answered."""
    return {
        "name": name,
        "image": "agent",
        "args": ["python", "/etc/echo.py"],
        "env": {"PYTHONUNBUFFERED": "1", "DRAIN": str(chosen().drain), **more.pop("env", {})},
        "configs": [{"path": "/etc/echo.py", "content": ECHO}],
        "ports": [{"name": "http", "port": 9000}],
        "routes": [{"name": "rest", "path": f"/seldon/{NAMESPACE}/{name}", "port": "http", "strip_path": True}],
        "probes": {
            "liveness": {"http": {"port": "http", "path": "/live"}, "interval": 1, "start_period": 20},
            "readiness": {"http": {"port": "http", "path": "/ready"}, "interval": 1, "timeout": 1},
        },
        "replicas": replicas,
        "resources": {"limits": {"cpu": 0.5, "memory": "64Mi"}},
        "zone": "models",
        "stop_grace": 10,
        **more,
    }


@dataclass
class Stand:
    target: Target
    seam: Backend
    images: Mapping[str, str]
    secret_values: Mapping[str, str]
    platform: list[dict[str, Any]]
    address: str = ""
    """Where the gateway is reached from here."""

    def apply_platform(self, **changes: dict[str, Any]) -> None:
        """Runs the platform, some of its workloads changed."""
        workloads = [{**workload, **changes.get(workload["name"], {})} for workload in self.platform]
        self.seam.apply("platform", workloads, images=self.images, secret_values=self.secret_values)
        self.address = self.target.address(self.task("gateway"))

    def apply(self, *workloads: dict[str, Any]) -> None:
        self.seam.apply("echo", list(workloads), images=self.images)

    def observed(self, name: str) -> Observed:
        return next(item for item in self.seam.observe() if item.name == name)

    def task(self, name: str) -> ObservedTask:
        """The same one of a workload's healthy tasks, as long as there are the same."""
        return min((task for task in self.observed(name).tasks if task.healthy), key=lambda task: task.id)

    def exec(self, name: str, *command: str) -> tuple[int, str]:
        return self.target.exec(self.task(name), command)

    def get(self, path: str, *, host: str = "localhost") -> tuple[int, bytes]:
        """One request through the gateway on a connection of its own."""
        connection = http.client.HTTPConnection(self.address, PORT, timeout=15)
        try:
            connection.request("GET", path, None, {"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def load(self, path: str, method: str = "GET") -> Load:
        return Load(self.address, path, method)

    def configuration(self) -> dict[str, Any]:
        """What the agent tells the gateway, asked from inside."""
        code, output = self.exec("agent", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/v1/traefik")
        assert code == 0, output
        found: dict[str, Any] = json.loads(output)
        return found

    def servers(self, name: str) -> set[str]:
        """The addresses that the gateway is told for a workload."""
        services = self.configuration()["http"].get("services", {})
        return {
            server["url"].partition("://")[2].rpartition(":")[0]
            for service, found in services.items()
            if service.startswith(f"{name}_")
            for server in found["loadBalancer"].get("servers", [])
        }

    def remove(self) -> None:
        for name in ("models", "echo", "platform"):
            self.seam.absent(name)


def connect(target: Target) -> Backend:
    return backend(target.name, NAMESPACE, domain="localhost", wait_timeout=120, **target.options())


@contextmanager
def standing(folder: Path, **variables: Any) -> Iterator[Stand]:
    target = chosen()
    found = declared(folder, **target.variables, **variables)
    seam = connect(target)
    try:
        images = target.bring(found["images"])
        stand = Stand(target, seam, images, found["secret_values"], found["workloads"])
        try:
            stand.apply_platform()
            yield stand
        finally:
            stand.remove()
    finally:
        target.forget()


def wait_for(holds: Callable[[], Any], seconds: float, what: str) -> float:
    """Seconds until it holds; raises when it doesn't in time."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if holds():
            return time.monotonic() - begun
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds:g} s: {what}")


@dataclass
class Load:
    """A steady, bounded stream of requests; who answered, and what failed."""

    address: str
    path: str
    method: str = "GET"
    threads: int = 4
    pause: float = 0.01
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def __enter__(self) -> Load:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self.threads)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    @property
    def total(self) -> int:
        return sum(self.answers.values())

    def _run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.wait(self.pause):
            begun = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection(self.address, PORT, timeout=15)
                # Without a body: on a busy machine Go's proxy cuts an answer that comes before it has seen the body's
                # end (golang/go#40747), rollout or not.
                connection.request(self.method, self.path, b"", {"Host": "localhost"})
                answer = connection.getresponse()
                text = answer.read()
                failure = "" if answer.status == 200 else f"{answer.status} {text[:80]!r}"
            except (OSError, http.client.HTTPException) as error:
                connection, failure, text = None, f"{type(error).__name__}: {error}", b""
            took = time.monotonic() - begun
            with self._lock:
                self.slowest = max(self.slowest, took)
                if failure:
                    self.failures.append(f"{failure} after {took:.2f} s")
                else:
                    self.answers[json.loads(text)["server"]] += 1
