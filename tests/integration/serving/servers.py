# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Model servers as processes: ours, Seldon's wrapper, and ours in the wrapper's environment."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "runtime" / "src"
CLASSES = Path(__file__).with_name("classes")
OURS, ORACLE, OURS_BESIDE_SELDON = "ours", "seldon_core", "ours beside seldon_core"


def python311() -> str | None:
    """The only Python that both servers run on."""
    candidates = [sys.executable, *map(str, sorted(Path.home().glob(".pyenv/versions/3.11*/bin/python3.11")))]
    for candidate in [*candidates, shutil.which("python3.11") or ""]:
        code = "import sys, ensurepip, pip; sys.exit(sys.version_info[:2] != (3, 11))"
        if candidate and subprocess.run([candidate, "-c", code], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def cache_directory() -> Path:
    fallback = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops-onprem"
    return Path(os.environ.get("MLOPS_CACHE") or fallback)


def _make(name: str, locks: list[Path], target: bool) -> Path:
    """An environment (or, with `target`, a directory of packages) from locks, made once: its name has their hash."""
    python = python311()
    assert python is not None
    key = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks) + python.encode()).hexdigest()[:12]
    place = cache_directory() / f"{name}-{key}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{place}.lock", "w") as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        if (place / ".complete").exists():
            return place
        shutil.rmtree(place, ignore_errors=True)
        requirements = [word for lock in locks for word in ("--requirement", str(lock))]
        if target:
            command = [python, "-m", "pip", "install", "--target", str(place), "--no-deps", "--only-binary", ":all:"]
        else:
            subprocess.run([python, "-m", "venv", str(place)], check=True)
            command = [str(place / "bin/python"), "-m", "pip", "install"]
        options = ["--quiet", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*command, *options, *requirements], check=True)
        (place / ".complete").touch()
    return place


def environment(kind: str) -> tuple[Path, Path]:
    """The interpreter, and the directory of the server's own packages."""
    images = ROOT / "images"
    own = _make("serving-own", [images / "model_server/server.txt"], target=True)
    if kind == OURS:
        place = _make("serving-model", [images / "model_server/requirements.txt"], target=False)
    else:
        locks = [images / "seldon_core/seldon.txt", images / "seldon_core/requirements.txt"]
        place = _make("serving-seldon", locks, target=False)
    return place / "bin/python", own


_given: set[int] = set()


def free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port


@dataclasses.dataclass
class Server:
    kind: str
    process: subprocess.Popen[bytes]
    http_port: int
    grpc_port: int
    metrics_port: int
    log: Path

    def request(
        self, method: str, path: str, body: bytes | None = None, content_type: str = "application/json", port: int = 0
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.http_port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": content_type} if content_type else {})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def post(self, path: str, message: Any) -> tuple[int, Any]:
        status, body = self.request("POST", path, json.dumps(message).encode())
        return status, json.loads(body)

    def metrics(self) -> str:
        return self.request("GET", "/metrics", port=self.metrics_port)[1].decode()

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float = 60) -> None:
        """Until REST and gRPC answer."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if self.request("GET", "/health/status")[0] == 200:
                    socket.create_connection(("127.0.0.1", self.grpc_port), 1).close()
                    self.request("GET", "/metrics", port=self.metrics_port)
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.kind} doesn't serve:\n{self.output()[-4000:]}")
            time.sleep(0.05)


@contextlib.contextmanager
def serving(
    kind: str,
    model_class: str,
    *,
    env: dict[str, str] | None = None,
    directory: Path = CLASSES,
    workers: int = 1,
    wait: bool = True,
) -> Iterator[Server]:
    """A running server of a class in `directory`; stopped by SIGTERM at the end."""
    python, own = environment(kind)
    ports = [free_port() for _ in range(3)]
    with tempfile.TemporaryDirectory() as scratch:
        path = [str(directory), str(SOURCE)] if kind == ORACLE else [str(SOURCE)]
        settings = {
            "PATH": os.environ["PATH"],
            "HOME": scratch,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": ":".join(path),
            "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": str(ports[0]),
            "PREDICTIVE_UNIT_GRPC_SERVICE_PORT": str(ports[1]),
            "PREDICTIVE_UNIT_METRICS_SERVICE_PORT": str(ports[2]),
            "MLOPS_DRAIN_SECONDS": "0",
            "GUNICORN_WORKERS": str(workers),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            **(env or {}),
        }
        if kind == ORACLE:
            command = [str(python), "-m", "seldon_core.microservice", model_class, "--service-type", "MODEL"]
        else:
            # What the image's .pth file does: the server's packages come after the model's.
            run = "runpy.run_module('mlops_runtime.serving', run_name='__main__')"
            start = f"import sys, runpy; sys.path.append({str(own)!r}); {run}"
            command = [str(python), "-W", "ignore", "-c", start, model_class]
        log = Path(scratch, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=directory, env=settings, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        server = Server(kind, process, *ports, log)
        try:
            if wait:
                server.wait()
            yield server
        finally:
            # The wrapper would wait for its gRPC processes for ever: it and they, one session, are killed.
            if kind != ORACLE:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
