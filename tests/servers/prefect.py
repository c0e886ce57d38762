# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A real Prefect server with authentication and SQLite, of its image's versions, on loopback.

with Prefect.started(tmp_path) as prefect, prefect.worker("pool"):
    prefect.api("POST", "/work_pools/filter", {})
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from process import free_port, stop

ROOT = Path(__file__).resolve().parents[2]
AUTH = "admin:a-password-for-tests"
Call = Callable[..., dict[str, Any]]
"""Runs one of the modules against the server."""


def environment() -> Path:
    """The virtual environment of server and worker, made once for its lock."""
    command = [ROOT / "bin" / "python-env", "prefect-server"]
    given = {**os.environ, "MLOPS_PYTHON": sys.executable}
    made = subprocess.run(command, env=given, stdout=subprocess.PIPE, text=True, check=True, timeout=900)
    return Path(made.stdout.strip())


class Prefect:
    """One server, and what works for it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._bin = environment() / "bin"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    @contextlib.contextmanager
    def started(cls, directory: Path, timeout: float = 180) -> Iterator[Prefect]:
        """Returns when it answers."""
        prefect = cls(directory)
        settings = {
            "PREFECT_SERVER_API_AUTH_STRING": AUTH,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{directory}/prefect.db",
            "PREFECT_SERVER_UI_ENABLED": "false",
        }
        with prefect._running(
            "server", settings, "server", "start", "--host", "127.0.0.1", "--port", str(prefect.port)
        ):
            prefect.wait_for(prefect._answers, timeout, "server")
            yield prefect

    @contextlib.contextmanager
    def worker(self, pool: str) -> Iterator[None]:
        """A worker that looks for runs every second, named after its pool; returns at once."""
        settings = {
            "PREFECT_API_URL": self.url,
            "PREFECT_API_AUTH_STRING": AUTH,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        with self._running(pool, settings, "worker", "start", "--pool", pool, "--type", "process"):
            yield

    @contextlib.contextmanager
    def _running(self, name: str, settings: dict[str, str], *command: str) -> Iterator[None]:
        home = self.directory / name
        home.mkdir(parents=True, exist_ok=True)
        quiet = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_HOME": str(home)}
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
        with (self.directory / f"{name}.log").open("wb") as output:
            process = subprocess.Popen(
                [self._bin / "prefect", *command],
                env={**clean, **quiet, **settings},
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=home,
            )
        self._processes[name] = process
        try:
            yield
        finally:
            stop(process)

    def wait_for(self, condition: Callable[[], bool], timeout: float, name: str) -> None:
        """Until the condition holds, as long as that process runs; the end of its log tells why it doesn't."""
        deadline = time.monotonic() + timeout
        while not condition():
            told = (self.directory / f"{name}.log").read_text(errors="replace")[-3000:]
            runs = self._processes[name].poll() is None
            assert runs and time.monotonic() < deadline, f"Prefect's {name} is not ready:\n{told}"
            time.sleep(0.3)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=5):
            return True
        return False

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Without the code under test. A busy SQLite answers 503, and has done nothing."""
        request = urllib.request.Request(f"{self.url}{path}", method=method)
        request.add_header("Authorization", f"Basic {base64.b64encode(AUTH.encode()).decode()}")
        request.add_header("Content-Type", "application/json")
        data = None if body is None else json.dumps(body).encode()
        for patience in range(20, -1, -1):
            try:
                with urllib.request.urlopen(request, data=data, timeout=30) as answer:
                    raw = answer.read()
                return json.loads(raw) if raw else None
            except urllib.error.HTTPError as error:
                if error.code != 503 or not patience:
                    raise
            time.sleep(0.2)
        raise AssertionError("unreachable")
