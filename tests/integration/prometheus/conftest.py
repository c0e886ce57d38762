# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A platform of processes: the agent's own application, told what runs, and whatever it is told of."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
for folder in (".collections", "plugins/module_utils", "runtime/src", "tests/servers", "tests/integration/serving"):
    if str(ROOT / folder) not in sys.path:
        sys.path.insert(0, str(ROOT / folder))

import prometheus as server  # noqa: E402
import uvicorn  # noqa: E402
from _workload.base import Observed, ObservedTask  # noqa: E402
from mlops_runtime.agent.app import Agent  # noqa: E402
from mlops_runtime.agent.clients import Clients  # noqa: E402
from mlops_runtime.agent.settings import Settings  # noqa: E402

if reason := server.missing():
    collect_ignore_glob = ["test_*.py"]
    print(f"tests/integration/prometheus: {reason}")


class Site:
    """The agent at a port of its own, and the workloads that it sees."""

    def __init__(self) -> None:
        self.seen: list[Observed] = []
        agent = Agent(
            Settings(resync_seconds=0.2), Clients(()), lambda: None, lambda: list(self.seen), lambda: iter(())
        )
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.port = int(self.socket.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = uvicorn.Server(uvicorn.Config(agent.app(), log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self.socket]}, daemon=True)

    def start(self) -> None:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline, "the agent didn't start"
            time.sleep(0.02)
        self.see("agent", self.port, set_name="platform")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self.socket.close()

    def see(self, name: str, *ports: int, path: str = "/metrics", set_name: str = "models", **labels: str) -> None:
        """From now on this workload runs with a task at each of these ports of the loopback address."""
        self.forget(name)
        for number, port in enumerate(ports):
            task = ObservedTask(f"{name}-{number}", "node1", "running", True, {"models": "127.0.0.1"})
            # The seam has one port for all of a workload's tasks; here, on one address, each task is a workload.
            self.seen.append(_observed(name, set_name, port, path, labels, [task]))

    def forget(self, name: str) -> None:
        self.seen = [item for item in self.seen if item.name != name]


def _observed(
    name: str, set_name: str, port: int, path: str, labels: dict[str, str], tasks: Sequence[ObservedTask]
) -> Observed:
    fields: dict[str, Any] = {"image": "image", "zone": "models", "routes": [], "status": "healthy"}
    named = {"model": "model", "version": "model.version", "role": "model.role"}
    return Observed(
        name=name,
        set_name=set_name,
        kind="service",
        replicas=len(tasks),
        metrics={"port": port, "path": path},
        labels={named[key]: value for key, value in labels.items()},
        tasks=list(tasks),
        **fields,
    )


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    found = Site()
    found.start()
    try:
        yield found
    finally:
        found.stop()
