# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Topics of a broker in tests: made, and read from their beginning."""

from __future__ import annotations

import json
import time
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic


def make_topics(address: str, *names: str, partitions: int = 1, **config: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})  # it must live until its futures are done
    made = admin.create_topics([NewTopic(name, partitions, 1, config=config) for name in names])
    for future in made.values():
        future.result(60)


def read_topic(address: str, topic: str, count: int, seconds: float = 30) -> list[tuple[str, Any]]:
    """Keys and values of the topic's only partition, from its beginning until there are `count`, or until its end."""
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": "reader", "enable.auto.commit": False, "fetch.wait.max.ms": 100}
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[tuple[str, Any]] = []
    deadline = time.monotonic() + seconds
    try:
        while len(found) < count and time.monotonic() < deadline:
            for message in consumer.consume(1000, 0.2):
                assert message.error() is None, message.error()
                found.append(((message.key() or b"").decode(), json.loads(message.value() or b"")))
        return found
    finally:
        consumer.close()


def length(address: str, topic: str) -> int:
    """Messages that the topic's only partition holds."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "reader"})
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), 30)
        return int(high - low)
    finally:
        consumer.close()
