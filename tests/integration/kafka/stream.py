# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The platform's users and clients of its stream."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from kafka_image import Brokers

PASSWORDS = {name: f"the password of {name}" for name in ("admin", "serving", "drift", "etl")}


def users(**passwords: str) -> list[dict[str, Any]]:
    """As the role declares them."""
    grants: dict[str, list[dict[str, Any]]] = {
        "serving": [{"topics": "predictions.*", "rights": ["write", "create"]}],
        "drift": [
            {"topics": "predictions.*", "rights": ["read", "write", "create"]},
            {"groups": "drift*", "rights": ["read"]},
            {"transactions": "drift*", "rights": ["write"]},
        ],
    }
    return [
        {"name": name, "password": password, "grants": grants.get(name, [])}
        for name, password in (PASSWORDS | passwords).items()
    ]


def settings(brokers: Brokers, user: str, password: str | None = None, ca: Path | None = None) -> dict[str, Any]:
    return {
        "bootstrap.servers": brokers.addresses(),
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": PASSWORDS[user] if password is None else password,
        "ssl.ca.location": str(ca or brokers.ca),
        "log_level": 0,
    }


def produce(configuration: dict[str, Any], topic: str, values: list[bytes], seconds: float = 20) -> list[str]:
    """Sends all and waits; the names of the errors that the broker, or the connection to it, had."""
    errors: list[str] = []

    def reported(error: KafkaError | None, _message: object) -> None:
        if error is not None:
            errors.append(error.name())

    client = Producer({**configuration, "message.timeout.ms": int(seconds * 1000), "error_cb": lambda _error: None})
    for value in values:
        client.produce(topic, value, on_delivery=reported)
        client.poll(0)
    assert client.flush(seconds + 10) == 0
    return errors


def consume(configuration: dict[str, Any], topic: str, count: int, group: str = "drift-test") -> list[bytes]:
    """All values of a topic from its beginning; raises KafkaException where the broker refuses."""
    return list(read(configuration, topic, count, f"{group}-{uuid.uuid4().hex}"))


def read(configuration: dict[str, Any], topic: str, count: int, group: str) -> list[bytes]:
    client = Consumer({**configuration, "group.id": group, "auto.offset.reset": "earliest"})
    found: list[bytes] = []
    try:
        client.subscribe([topic])
        while len(found) < count:
            message = client.poll(30)
            assert message is not None, f"{len(found)} of {count} messages came"
            if message.error():
                raise KafkaException(message.error())
            found.append(message.value())
        client.commit(asynchronous=False)
    finally:
        client.close()
    return found


def end(configuration: dict[str, Any], topic: str) -> int:
    """The number of messages in a topic's first partition."""
    client = Consumer({**configuration, "group.id": "drift-end"})
    try:
        return int(client.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)[1])
    finally:
        client.close()
