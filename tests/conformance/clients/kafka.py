# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs inside the cluster: sends messages as the model server does, or reads back, as the drift detector does, what an
earlier run with the same TOKEN has sent. VERB: send or read. Mounted under another name, or it would hide its library.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError

COUNT = 1000
TOKEN = os.environ["TOKEN"]
TOPIC = f"{os.environ['MLOPS_TOPIC_PREFIX']}verify-{TOKEN}"
PLACE = {
    "bootstrap_servers": os.environ["MLOPS_BROKER"].split(","),
    "ssl_cafile": os.environ["MLOPS_BROKER_CA"],
    "bootstrap_timeout_ms": 60000,
}


def password(who: str) -> str:
    return Path(os.environ[f"{who}_PASSWORD_FILE"]).read_text().strip("\n")


def login(user: str, secret: str) -> dict[str, object]:
    names = {"sasl_plain_username": user, "sasl_plain_password": secret}
    return {**PLACE, "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512", **names}


WRITER = login(os.environ["WRITER"], password("WRITER"))
READER = login(os.environ["READER"], password("READER"))


def value(number: int) -> bytes:
    return f"{TOKEN} {number}".encode()


def send() -> None:
    producer = KafkaProducer(**WRITER, acks="all")
    sent = [producer.send(TOPIC, value(number), key=value(number)) for number in range(COUNT)]
    producer.flush()
    for future in sent:
        future.get(30)
    producer.close()


def read(group: str) -> list[str]:
    consumer = KafkaConsumer(TOPIC, **READER, group_id=f"drift-{group}-{TOKEN}", auto_offset_reset="earliest")
    found: list[bytes] = []
    until = time.monotonic() + 60
    while len(found) < COUNT and time.monotonic() < until:
        for messages in consumer.poll(1000).values():
            found += [message.value for message in messages]
    consumer.close()
    print(f"{TOPIC}: {len(found)} messages")
    if sorted(found) != sorted(map(value, range(COUNT))):
        return [f"{len(found)} messages came back, {len(set(found))} different ones, of {COUNT} that were sent"]
    return []


def refusals() -> list[str]:
    """Who has a wrong password, or none, or no grant, gets nothing."""
    problems = []
    strangers = {"with a wrong password": login(os.environ["WRITER"], "x" * 40), "unknown": login("nobody", "x" * 40)}
    strangers["without a password"] = {**PLACE, "security_protocol": "SSL"}
    for who, settings in strangers.items():
        try:
            KafkaAdminClient(**{**settings, "bootstrap_timeout_ms": 5000}).close()
            problems.append(f"somebody {who} was let in")
        except KafkaError:
            pass
    producer = KafkaProducer(**WRITER, max_block_ms=15000)
    try:
        producer.send(f"verify-{TOKEN}", b"x").get(15)
        problems.append("the model servers' user may write beside the stream")
    except TopicAuthorizationFailedError:
        pass
    finally:
        producer.close()
    for who, settings, group in (
        ("the model servers' user reads the stream", WRITER, f"drift-{TOKEN}"),
        ("the detectors' user reads in a group of others", READER, f"others-{TOKEN}"),
    ):
        consumer = KafkaConsumer(**settings, group_id=group)
        try:
            consumer.committed(TopicPartition(TOPIC, 0))
            problems.append(who)
        except (TopicAuthorizationFailedError, GroupAuthorizationFailedError):
            pass
        finally:
            consumer.close()
    return problems


def remove() -> None:
    if os.environ.get("ADMIN_PASSWORD_FILE"):
        admin = KafkaAdminClient(**login("admin", password("ADMIN")))
        admin.delete_topics([TOPIC])
        admin.close()


def main() -> int:
    verb = os.environ["VERB"]
    if verb == "send":
        send()
    problems = read(verb)
    if verb == "send":
        problems += refusals()
    else:
        remove()
    print("\n".join(problems) or f"{verb}: as it should be")
    return 1 if problems else 0


sys.exit(main())
