# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A real Kafka broker (KRaft, one node) on this machine's loopback address, from the jars that the image is built of.

    with Kafka.started(tmp_path) as kafka:      # ready when it answers
        Producer({"bootstrap.servers": kafka.address})
        kafka.stop(); kafka.start()             # the same data, the same address

By hand: python tests/servers/kafka.py DIRECTORY
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
JARS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mlops-onprem" / "kafka-jars"
CLUSTER = "bWxvcHMub25wcmVtLnRlcw"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def java() -> str | None:
    """The Java that runs the broker; None where there is none of 17 or newer."""
    return shutil.which("java")


def jars() -> str:
    """The class path; brings the jars at the first time."""
    subprocess.run(
        [sys.executable, str(ROOT / "images/kafka/fetch-jars"), str(ROOT / "images/kafka/jars.txt"), str(JARS)],
        check=True,
    )
    return f"{JARS}/*"


class Kafka:
    """One broker without passwords; `settings` are added to its properties."""

    def __init__(self, directory: Path, settings: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.port, self.controller = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = settings or {}
        self._classes = jars()

    @classmethod
    @contextlib.contextmanager
    def started(cls, directory: Path, settings: dict[str, str] | None = None) -> Iterator[Kafka]:
        kafka = cls(directory, settings)
        kafka.start()
        try:
            yield kafka
        finally:
            kafka.stop()

    def _java(self, *arguments: str) -> list[str]:
        options = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return [java() or "java", *options, "-cp", self._classes, *arguments]

    def _write(self) -> Path:
        path = self.directory / "server.properties"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": str(self.directory / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
            "message.max.bytes": "1048588",
            **self._settings,
        }
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        return path

    def start(self, timeout: float = 120) -> None:
        """Returns when the broker takes connections."""
        self.directory.mkdir(parents=True, exist_ok=True)
        properties = self._write()
        if not (self.directory / "data" / "meta.properties").exists():
            subprocess.run(
                self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(properties)),
                check=True,
                capture_output=True,
            )
        with (self.directory / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._java("kafka.Kafka", str(properties)), stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        last = (self.directory / "broker.log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"Kafka did not start within {timeout:g} s; the end of its log:\n{last}")

    def stop(self, hard: bool = False) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL if hard else signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self.process = None


if __name__ == "__main__":
    with Kafka.started(Path(sys.argv[1])) as kafka:
        print(kafka.address, flush=True)
        signal.pause()
