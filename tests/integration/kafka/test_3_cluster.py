# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Three brokers, one of which is killed: nothing stops, nothing that was acknowledged is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient
from kafka_image import Brokers, run_job
from stream import consume, settings, users

TOPIC = "predictions.three"


@pytest.fixture(scope="module")
def brokers(certificate: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    small = {"KAFKA_HEAP": "192m"}
    with Brokers.started(tmp_path_factory.mktemp("three"), 3, certificate, small) as found:
        done = run_job(found, users(), [{"name": TOPIC, "partitions": 3}])
        assert done.returncode == 0, done.stdout + done.stderr
        yield found


def test_a_killed_broker_costs_nothing(brokers: Brokers) -> None:
    acknowledged: list[bytes] = []
    failed: list[KafkaError] = []
    stop = threading.Event()

    def reported(error: KafkaError | None, message: Message) -> None:
        if error is None:
            acknowledged.append(message.value())
        else:
            failed.append(error)

    def send() -> None:
        careful = {"message.timeout.ms": 300000, "linger.ms": 5, "enable.idempotence": True}
        client = Producer({**settings(brokers, "serving"), **careful})
        number = 0
        while not stop.is_set():
            client.produce(TOPIC, str(number).encode(), on_delivery=reported)
            client.poll(0)
            number += 1
            stop.wait(0.005)
        assert client.flush(300) == 0

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for number in range(3):
            wait_for_more(acknowledged)
            brokers.stop(number, hard=True)
            # With one away it goes on.
            wait_for_more(acknowledged)
            brokers.start(number)
            wait_for(lambda: in_sync(brokers))
    finally:
        stop.set()
        sender.join(300)
    assert failed == []
    found = consume(settings(brokers, "drift"), TOPIC, len(acknowledged))
    assert sorted(found) == sorted(acknowledged)
    assert len(set(found)) == len(found)


def wait_for_more(acknowledged: list[bytes], count: int = 200) -> None:
    goal = len(acknowledged) + count
    wait_for(lambda: len(acknowledged) > goal)


def in_sync(brokers: Brokers) -> bool:
    partitions = AdminClient(settings(brokers, "admin")).list_topics(TOPIC, timeout=30).topics[TOPIC].partitions
    return all(len(partition.isrs) == 3 for partition in partitions.values())


def wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.1)
