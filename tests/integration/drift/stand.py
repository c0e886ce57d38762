# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A stand of the service's processes before a real broker: start, kill, ask, wait."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from mlops_runtime.drift.fitting import fit

HERE = Path(__file__).resolve().parent
NAMES = [f"feature_{index}" for index in range(5)]
DECLARED: list[object] = ["cusum", {"kind": "cusum", "name": "quick", "threshold": 5.0}]


T = TypeVar("T")


def until(ask: Callable[[], T | None], what: str, seconds: float = 240) -> T:
    """The first answer that isn't None or False."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = ask()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds:g} s")


class Service:
    """One replica, as a process."""

    def __init__(self, broker: str, models: Path, log: Path, name: str = "", **env: str) -> None:
        self.name = name
        self._env = {
            **os.environ,
            "MLOPS_BROKER": broker,
            "MLOPS_DRIFT_MODELS": str(models),
            "MLOPS_DRIFT_PORT": "0",
            "MLOPS_DRIFT_INSTANCE": name,
            "MLOPS_DRIFT_SNAPSHOT_SECONDS": "0.3",
            "MLOPS_DRIFT_POLL_SECONDS": "1",
            **env,
        }
        self.log = log
        self._port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Service:
        begun = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen([sys.executable, str(HERE / "with_cusum.py")], env=self._env, stderr=stream)

        def port() -> int | None:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            lines = self.log.read_bytes()[begun:].decode().splitlines()
            return next((int(line.rsplit(" ", 1)[1]) for line in lines if ": Port " in line), None)

        self._port = until(port, "the service's port")
        return self

    def stop(self, hard: bool = False) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
        code = self.process.wait(60)
        self.process = None
        return code

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def ready(self) -> dict[str, Any]:
        return dict(json.loads(self.get("/health/ready")[1]))

    def partitions(self) -> dict[tuple[str, int], dict[str, Any]]:
        """State of the partitions that it holds, by model and partition."""
        models = json.loads(self.get("/state")[1])["models"]
        return {
            (model, int(number)): partition
            for model, known in models.items()
            for number, partition in known["partitions"].items()
        }


@contextlib.contextmanager
def running(*services: Service) -> Iterator[None]:
    try:
        for service in services:
            service.start()
        yield
    except BaseException:
        for service in services:
            print(f"the end of the log of {service.name or 'the service'}:", service.log.read_text()[-6000:], sep="\n")
            with contextlib.suppress(OSError):
                print("ready:", service.get("/health/ready"), "state:", service.get("/state"), sep="\n")
        raise
    finally:
        for service in services:
            service.stop(hard=True)


def topics(broker: str, *names: str, partitions: int = 1, **config: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker})
    for future in admin.create_topics([NewTopic(name, partitions, 1, config=config) for name in names]).values():
        future.result(30)


def fitted(models: Path, model: str, version: str = "1", seed: int = 0) -> None:
    rows = np.random.default_rng(seed).normal(size=(500, len(NAMES)))
    fit(rows, NAMES, detectors=DECLARED, directory=models / model / version, model=model)


def record(model: str, name: str, rows: Sequence[Sequence[object]], version: str = "1", **changes: object) -> bytes:
    document = {"schema": 1, "model": model, "version": version, "id": name, "names": NAMES, "X": rows, **changes}
    return json.dumps(document).encode()


def drifting(model: str, count: int, seed: int, version: str = "1") -> list[bytes]:
    """Records of one to three rows; every few hundred the mean moves, and later moves back."""
    chance = np.random.default_rng(seed)
    values = []
    for index in range(count):
        shift = 0.9 if (index // 400) % 2 else 0.0
        rows = chance.normal(shift, 1, (int(chance.integers(1, 4)), len(NAMES))).tolist()
        if chance.random() < 0.05:
            rows[0][2] = None
        values.append(record(model, f"{model}-{seed}-{index}", rows, version))
    return values


def send(broker: str, topic: str, values: Sequence[bytes | None], partition: int = 0) -> None:
    # Idempotent: a broker that has just started may take a message, lose its lead, and be sent it again.
    producer = Producer(
        {"bootstrap.servers": broker, "linger.ms": 5, "message.max.bytes": 8_000_000, "enable.idempotence": True}
    )
    for value in values:
        while True:
            try:
                producer.produce(topic, value, partition=partition)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0


class Sent(NamedTuple):
    """A message as a topic has it."""

    partition: int
    offset: int
    milliseconds: int
    value: bytes | None
    headers: dict[str, str]


def read_all(broker: str, topic: str, partitions: int = 1) -> list[Sent]:
    """Everything that was committed to a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": "reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )
    found = []
    ended = 0
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    deadline = time.monotonic() + 60
    while ended < partitions and time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error() is not None:
            ended += 1
            continue
        headers = {key: value.decode() for key, value in message.headers() or ()}
        found.append(
            Sent(message.partition() or 0, message.offset() or 0, message.timestamp()[1], message.value(), headers)
        )
    consumer.close()
    return found
