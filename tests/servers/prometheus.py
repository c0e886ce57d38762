# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus on this machine's loopback address, from the Debian package that the image is built of.

    with Prometheus.started(tmp_path, configuration) as prometheus:      # ready when it says so
        prometheus.query("up")
        prometheus.stop(); prometheus.start()                            # the same data, the same address

The package is unpacked into the user's cache, once; nothing is installed, no service is started.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mlops-onprem" / "prometheus-2.42"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def missing() -> str:
    """Why there can't be one here; empty if there can."""
    if (CACHE / ".complete").exists():
        return ""
    return "" if shutil.which("apt-get") and shutil.which("dpkg-deb") else "Debian's package tools are not here"


def program(name: str) -> Path:
    """`prometheus` or `promtool`; brings the package at the first time."""
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{CACHE}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (CACHE / ".complete").exists():
            shutil.rmtree(CACHE, ignore_errors=True)
            CACHE.mkdir()
            subprocess.run(["apt-get", "download", "--quiet", "prometheus"], cwd=CACHE, check=True, capture_output=True)
            [package] = CACHE.glob("*.deb")
            subprocess.run(["dpkg-deb", "--extract", package, CACHE], check=True)
            package.unlink()
            (CACHE / ".complete").touch()
    return CACHE / "usr/bin" / name


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs promtool; what it says is in stdout and stderr."""
    command = [program("promtool"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Prometheus:
    """One server. `login` is a user and password of its file of users, `users`, which is a file's content."""

    def __init__(
        self, directory: Path, configuration: Mapping[str, Any], users: str = "", login: tuple[str, str] | None = None
    ) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._configuration = configuration
        self._users = users
        self._login = login

    @classmethod
    @contextlib.contextmanager
    def started(cls, directory: Path, configuration: Mapping[str, Any], **options: Any) -> Iterator[Prometheus]:
        prometheus = cls(directory, configuration, **options)
        prometheus.start()
        try:
            yield prometheus
        finally:
            prometheus.stop()

    def start(self, timeout: float = 60) -> None:
        """Returns when it answers queries."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(dict(self._configuration)))
        command = [
            str(program("prometheus")),
            f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--web.local-assets={CACHE / 'usr/share/prometheus/web'}",
        ]
        if self._users:
            (self.directory / "web.yml").write_text(self._users)
            command.append(f"--web.config.file={self.directory / 'web.yml'}")
        with (self.directory / "prometheus.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if self.status("/-/ready") == 200:
                    return
            time.sleep(0.05)
        last = (self.directory / "prometheus.log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"Prometheus did not start within {timeout:g} s; the end of its log:\n{last}")

    def stop(self) -> None:
        """Ends it as the platform does: it saves what it has."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def get(self, path: str, login: bool = True, **parameters: str) -> bytes:
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        request = urllib.request.Request(f"{self.url}{path}{query}")
        if login and self._login:
            request.add_header("Authorization", "Basic " + base64.b64encode(":".join(self._login).encode()).decode())
        with _DIRECT.open(request, timeout=10) as answer:
            return bytes(answer.read())

    def status(self, path: str, login: bool = True) -> int:
        try:
            self.get(path, login)
        except urllib.error.HTTPError as error:
            return error.code
        return 200

    def query(self, expression: str, **parameters: str) -> list[dict[str, Any]]:
        """The series of an instant query: `metric` (labels) and `value` (time, text)."""
        document = json.loads(self.get("/api/v1/query", query=expression, **parameters))
        return list(document["data"]["result"])

    def eventually(self, expression: str, seconds: float = 30) -> list[dict[str, Any]]:
        """The series of a query as soon as there is one."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := self.query(expression):
                return found
            time.sleep(0.1)
        raise AssertionError(f"{expression} is empty after {seconds:g} s; targets: {self.targets()}")

    def targets(self) -> list[dict[str, Any]]:
        return list(json.loads(self.get("/api/v1/targets"))["data"]["activeTargets"])
