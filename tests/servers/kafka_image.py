# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Brokers as the image `kafka` runs them (TLS, passwords, grants), without a container, on this machine's loopback.

    with Brokers.started(tmp_path, 3) as brokers:
        run_job(brokers, users=[...], topics=[...])
        brokers.stop(1, hard=True); brokers.start(1)

Each has an address of its own (127.0.0.1, 127.0.0.2, ...) and all the same ports, as containers do.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kafka import JARS, ROOT, free_port, jars

IMAGE = ROOT / "images/kafka"
HOME = JARS.parent / "kafka-home"


def home() -> Path:
    """What the image has in /opt/kafka."""
    jars()
    (HOME / "lib").mkdir(parents=True, exist_ok=True)
    listed = {line.rsplit("/", 1)[-1] for line in (IMAGE / "jars.txt").read_text().splitlines() if line[:1] != "#"}
    for name in listed:
        link = HOME / "lib" / name
        if not link.exists():
            link.symlink_to(JARS / name)
    subprocess.run([sys.executable, str(IMAGE / "extract-native"), str(HOME / "lib"), str(HOME / "native")], check=True)
    for name in ("log4j2.properties", "metrics.yml"):
        shutil.copy(IMAGE / name, HOME / name)
    return HOME


class Brokers:
    """One broker or several. ``variables`` are added to their environment."""

    def __init__(self, directory: Path, count: int, certificate: str, variables: Mapping[str, str]) -> None:
        self.directory = directory
        self.hosts = [f"127.0.0.{number}" for number in range(1, count + 1)]
        self.ports = {name: free_port() for name in ("clients", "peers", "controllers", "metrics")}
        self.certificate = directory / "certificate.pem"
        self.ca = directory / "ca.pem"
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self._variables = dict(variables)
        self._home = home()
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate.write_text(certificate)
        self.ca.write_text(certificate[certificate.index("-----BEGIN CERTIFICATE") :])

    @classmethod
    @contextlib.contextmanager
    def started(
        cls, directory: Path, count: int, certificate: str, variables: Mapping[str, str] | None = None
    ) -> Iterator[Brokers]:
        brokers = cls(directory, count, certificate, variables or {})
        try:
            for number in range(count):
                brokers.launch(number)
            for number in range(count):
                brokers.wait(number)
            yield brokers
        finally:
            for number in list(brokers.processes):
                brokers.stop(number, hard=True)

    def addresses(self, port: str = "clients") -> str:
        return ",".join(f"{host}:{self.ports[port]}" for host in self.hosts)

    def log(self, number: int = 0) -> str:
        return (self.directory / f"broker{number + 1}.log").read_text(errors="replace")

    def environment(self, number: int) -> dict[str, str]:
        scratch = self.directory / f"scratch{number + 1}"
        scratch.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(IMAGE),
            "KAFKA_BROKERS": ",".join(self.hosts),
            "KAFKA_NAME": self.hosts[number],
            "KAFKA_LISTEN": self.hosts[number],
            "KAFKA_CERTIFICATE_FILE": str(self.certificate),
            "KAFKA_DATA_DIR": str(self.directory / f"data{number + 1}"),
            "KAFKA_HOME": str(self._home),
            "KAFKA_SCRATCH_DIR": str(scratch),
            **{f"KAFKA_{name.upper()}_PORT": str(port) for name, port in self.ports.items()},
            **self._variables,
        }

    def launch(self, number: int) -> None:
        with (self.directory / f"broker{number + 1}.log").open("ab") as log:
            self.processes[number] = subprocess.Popen(
                [sys.executable, "-m", "mlops_kafka", "serve"],
                env=self.environment(number),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, number: int, timeout: float = 300) -> None:
        """Returns when the broker takes clients."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.processes[number].poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection((self.hosts[number], self.ports["clients"]), 1).close()
                return
            time.sleep(0.1)
        code = self.processes[number].poll()
        what = "did not start in time" if code is None else f"ended with {code}"
        raise RuntimeError(f"broker {number + 1} {what}; the end of its log:\n{self.log(number)[-3000:]}")

    def start(self, number: int) -> None:
        self.launch(number)
        self.wait(number)

    def stop(self, number: int, hard: bool = False) -> None:
        process = self.processes.pop(number)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL if hard else signal.SIGTERM)
        process.wait(60)


def run_job(
    brokers: Brokers,
    users: Sequence[Mapping[str, Any]] | None,
    topics: Sequence[Mapping[str, Any]],
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """mlops-kafka topics, as the platform runs it. Passwords are given as such, and reach it as files."""
    declared = []
    for user in users or []:
        path = brokers.directory / f"password_{user['name']}"
        path.write_text(user["password"])
        declared.append({"name": user["name"], "password_file": str(path), "grants": user.get("grants", [])})
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(IMAGE),
        "MLOPS_BROKER": brokers.addresses("peers"),
        "MLOPS_LOGIN": brokers.addresses("clients"),
        "KAFKA_CERTIFICATE_FILE": str(brokers.certificate),
        "MLOPS_TOPICS": json.dumps(topics),
        "MLOPS_WAIT": "60",
        **({} if users is None else {"MLOPS_USERS": json.dumps(declared)}),
        **variables,
    }
    command = [sys.executable, "-m", "mlops_kafka", "topics"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=180)
