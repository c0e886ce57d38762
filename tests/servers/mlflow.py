# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A real MLflow server with basic authentication and proxied artefacts, of its image's versions, on loopback.

with Mlflow.started(tmp_path) as mlflow:
    mlflow.api("POST", "registered-models/create", {"name": "m"})
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from process import free_port, stop

ROOT = Path(__file__).resolve().parents[2]
ADMIN, PASSWORD = "admin", "an-admin-password"


def environment() -> Path:
    """The server's virtual environment, made once for its lock."""
    lock = ROOT / "requirements" / "mlflow-server.txt"
    locks = lock.read_bytes() + (ROOT / "images" / "mlflow" / "requirements.txt").read_bytes()
    key = hashlib.sha256(locks + sys.version.encode()).hexdigest()[:16]
    made = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mlops-onprem" / f"mlflow-{key}"
    if not (made / "ready").exists():
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or "uv"
        shutil.rmtree(made, ignore_errors=True)
        made.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, made], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", made / "bin/python", "--require-hashes", "-r", lock]
        subprocess.run(install, check=True)
        (made / "ready").touch()
    return made


class Mlflow:
    """One server; a user without rights of its own may do what the platform's users may."""

    def __init__(self, directory: Path, allowed_hosts: str = "127.0.0.1:*") -> None:
        self.directory = directory
        self.venv = environment()
        self._allowed_hosts = allowed_hosts
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextlib.contextmanager
    def started(cls, directory: Path, **options: str) -> Iterator[Self]:
        mlflow = cls(directory, **options)
        mlflow.start()
        try:
            yield mlflow
        finally:
            mlflow.stop()

    def start(self, timeout: float = 600) -> None:
        """Returns when it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "auth.ini").write_text(
            "[mlflow]\ndefault_permission = NO_PERMISSIONS\nauth_cache_ttl_seconds = 600\n"
            f"database_uri = sqlite:///{self.directory}/auth.db\nadmin_username = {ADMIN}\n"
            f"admin_password = {PASSWORD}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        settings = {
            "MLFLOW_AUTH_CONFIG_PATH": str(self.directory / "auth.ini"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "for-tests",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        command = [
            str(self.venv / "bin/mlflow"), "server", "--app-name", "basic-auth", "--host", "127.0.0.1",
            "--port", str(self.port), "--workers", "1", "--backend-store-uri", f"sqlite:///{self.directory}/mlflow.db",
            "--serve-artifacts", "--artifacts-destination", str(self.directory / "artifacts"),
            "--allowed-hosts", self._allowed_hosts,
        ]  # fmt: skip
        log = self.directory / "server.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **settings},
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self.directory,
            )
        deadline = time.monotonic() + timeout
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return
            told = log.read_text(errors="replace")[-3000:]
            assert self.process.poll() is None and time.monotonic() < deadline, f"MLflow doesn't answer:\n{told}"
            time.sleep(0.3)

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process)
            self.process = None

    def api(self, method: str, path: str, body: dict[str, Any] | None = None, version: str = "2.0") -> Any:
        """As the administrator, without the code under test."""
        request = urllib.request.Request(f"{self.uri}/api/{version}/mlflow/{path}", method=method)
        pair = base64.b64encode(f"{ADMIN}:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
        request.add_header("Content-Type", "application/json")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data=data, timeout=30) as answer:
            return json.load(answer)

    def add_user(self, name: str, password: str) -> None:
        self.api("POST", "users/create", {"username": name, "password": password})

    def grant(self, name: str, resource: str, pattern: str, permission: str) -> None:
        given = {"username": name, "resource_type": resource, "resource_id": pattern, "permission": permission}
        self.api("POST", "users/permissions/grant", given, version="3.0")
