# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A Grafana on this machine's loopback address: a real one where there is an installation, else a stand-in.

    with Grafana.started(tmp_path) as grafana:
        grafana.api("GET", "/api/org")

MLOPS_GRAFANA_HOME names the installation: its directory with `conf`, `public` and `bin/grafana` (version 10 or newer),
or `built`, the one that grafana_server.py builds.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grafana_server
import grafana_stand_in
from process import free_port

ROOT = Path(__file__).resolve().parents[2]
USER, PASSWORD = "admin", "a-password-for-tests"

Call = Callable[..., dict[str, Any]]
"""Runs one of the modules against the server."""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Grafana:
    """One server, with its data in a directory of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.port = int(url.rpartition(":")[2])

    @classmethod
    @contextlib.contextmanager
    def started(cls, directory: Path) -> Iterator[Grafana]:
        """Returns when it answers."""
        if home := os.environ.get("MLOPS_GRAFANA_HOME"):
            real = RealGrafana(directory, grafana_server.build() if home == "built" else Path(home))
            try:
                real.start()
                yield real
            finally:
                real.kill()
            return
        with grafana_stand_in.served(grafana_stand_in.StandIn(USER, PASSWORD)) as url:
            yield cls(url)

    def api(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """As the administrator, without the code under test."""
        request = urllib.request.Request(f"{self.url}{path}", method=method)
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        for name, value in {"Authorization": f"Basic {pair}", "Content-Type": "application/json"}.items():
            request.add_header(name, value)
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        data = None if body is None else json.dumps(body).encode()
        with _DIRECT.open(request, data=data, timeout=30) as answer:
            raw = answer.read()
        return json.loads(raw) if raw else None

    def there(self, path: str) -> bool:
        """Whether the server has that thing."""
        try:
            self.api("GET", path)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            raise
        return True


class RealGrafana(Grafana):
    """An installation's server."""

    def __init__(self, directory: Path, home: Path) -> None:
        super().__init__(f"http://127.0.0.1:{free_port()}")
        self._directory, self._home = directory, home
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 180) -> None:
        """Returns when it answers; what it had before a kill it has again."""
        log = self._directory / "grafana.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._home / "bin" / "grafana", "server", "--homepath", self._home],
                env=self._environment(),
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self._directory,
            )
        deadline = time.monotonic() + timeout
        while not self._answers():
            told = log.read_text(errors="replace")[-3000:]
            assert self._process.poll() is None and time.monotonic() < deadline, f"Grafana doesn't answer:\n{told}"
            time.sleep(0.2)

    def kill(self) -> None:
        """As a machine that loses its power does."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def _environment(self) -> dict[str, str]:
        settings = {
            "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_PATHS_DATA": str(self._directory / "data"),
            "GF_PATHS_LOGS": str(self._directory / "logs"),
            "GF_PATHS_PLUGINS": str(self._directory / "plugins"),
            "GF_SECURITY_ADMIN_PASSWORD": PASSWORD,
            "GF_SECURITY_DISABLE_BRUTE_FORCE_LOGIN_PROTECTION": "true",
            "GF_SERVER_HTTP_ADDR": "127.0.0.1",
            "GF_SERVER_HTTP_PORT": str(self.port),
        }
        return {key: value for key, value in os.environ.items() if not key.startswith("GF_")} | settings

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), _DIRECT.open(f"{self.url}/api/health", timeout=5) as answer:
            return bool(json.load(answer)["database"] == "ok")
        return False
