# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever ends a replica: the same alarms at the same rows, the same state, nothing skipped and nothing twice."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from mlops_runtime.drift.artefact import load
from mlops_runtime.drift.stream import Message, Standing, Stream
from stand import Sent, Service, drifting, fitted, read_all, record, running, send, topics, until


class Versions:
    """As the service knows them."""

    def __init__(self, models: Path, model: str) -> None:
        self._known = {path.name: load(path) for path in (models / model).iterdir()}

    def find(self, version: str | None, made: float = 0) -> tuple[str, Any]:
        name = version or max(self._known)
        return name, self._known.get(name, Standing.UNKNOWN)


def alone(models: Path, model: str, sent: list[Sent]) -> Stream:
    """The same messages through the same code, in one process and one go."""
    stream = Stream(model, Versions(models, model))
    stream.take([Message(message.offset, message.milliseconds, message.value) for message in sent])
    return stream


def poisoned(values: list[bytes], chance: random.Random) -> list[bytes]:
    """One in fifty is poison or comes twice."""
    found = []
    for value in values:
        found.append(value)
        if chance.random() < 0.02:
            found.append(
                chance.choice([b"{", value, record("other", "x", [[1]]), record("m", "y", [[1]], version="9")])
            )
    return found


def is_the_same(partition: dict[str, Any], stream: Stream) -> None:
    assert partition["versions"]["1"]["rows"] == stream.watchers["1"].rows
    assert partition["dead"] == stream.dead
    assert partition["alarms"] == [asdict(alarm) for alarm in stream.alarms]
    assert partition["digest"] == stream.digest()


@pytest.mark.parametrize("seed", range(3))
def test_kill_at_random_points(broker: str, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    prefix, topic = f"kill{seed}.", f"kill{seed}.m"
    topics(broker, topic, f"{topic}.dead")
    models = tmp_path / "models"
    fitted(models, "m")
    values = poisoned(drifting("m", 5000, seed), chance)
    service = Service(broker, models, tmp_path / "log", "one", MLOPS_TOPIC_PREFIX=prefix, MLOPS_DRIFT_GROUP=prefix)
    ended = threading.Event()

    def feed() -> None:
        for begin in range(0, len(values), 50):
            send(broker, topic, values[begin : begin + 50])
            ended.wait(0.1)

    def place(least: int) -> int | None:
        offset = next((partition["offset"] for partition in service.partitions().values()), 0)
        return offset if offset >= least else None

    with running(service):
        feeder = threading.Thread(target=feed)
        feeder.start()
        kills, reached = 0, 0
        while reached < len(values) * 0.9:
            wanted = min(len(values), reached + chance.randint(1, len(values) // 10))
            reached = until(lambda wanted=wanted: place(wanted), f"{wanted} messages scored")
            # Somewhere between two snapshots, or in the middle of one.
            time.sleep(chance.uniform(0, 0.3))
            service.stop(hard=True)
            kills += 1
            service.start()
        feeder.join()
        ended.set()
        partition = until(
            lambda: next((one for one in service.partitions().values() if one["committed"] == len(values)), None),
            "all messages scored and committed",
        )
    assert kills >= 3
    stream = alone(models, "m", read_all(broker, topic))
    is_the_same(partition, stream)
    assert len(partition["alarms"]) > 1
    letters = [int(letter.headers["offset"]) for letter in read_all(broker, f"{topic}.dead")]
    assert len(letters) == sum(stream.dead.values())
    assert letters == sorted(set(letters))


@pytest.mark.parametrize("how", ["killed", "stopped", "paused"])
def test_partitions_that_move(broker: str, tmp_path: Path, how: str) -> None:
    """Two replicas share four partitions; one of them ends, or stands still until the group takes its part away."""
    prefix, topic = f"{how}.", f"{how}.m"
    topics(broker, topic, f"{topic}.dead", partitions=4)
    models = tmp_path / "models"
    fitted(models, "m")
    settings = {"MLOPS_TOPIC_PREFIX": prefix, "MLOPS_DRIFT_GROUP": prefix}
    first, second = (Service(broker, models, tmp_path / name, name, **settings) for name in ("first", "second"))
    parts = [drifting("m", 1500, number) for number in range(4)]

    def feed(begin: int, end: int) -> None:
        for number, values in enumerate(parts):
            send(broker, topic, values[begin:end], number)

    def scored(least: int, *services: Service) -> dict[tuple[str, int], dict[str, Any]] | None:
        held = {key: one for service in services for key, one in service.partitions().items()}
        return held if len(held) == 4 and all((one["committed"] or 0) >= least for one in held.values()) else None

    with running(first, second):
        until(lambda: len(first.partitions()) == len(second.partitions()) == 2, "both have their share")
        feed(0, 700)
        until(lambda: scored(700, first, second), "the first part scored")
        feed(700, 900)
        assert first.process is not None
        if how == "paused":
            os.kill(first.process.pid, signal.SIGSTOP)
        else:
            first.stop(hard=how == "killed")
        feed(900, 1200)
        until(lambda: scored(1200, second), "the other has taken over")
        if how == "paused":
            os.kill(first.process.pid, signal.SIGCONT)
        else:
            first.start()
        feed(1200, 1500)
        held = until(lambda: scored(1500, first, second), "all of it scored")
    sent = read_all(broker, topic, 4)
    for number in range(4):
        stream = alone(models, "m", [message for message in sent if message.partition == number])
        is_the_same(held["m", number], stream)
        assert len(held["m", number]["alarms"]) > 0
