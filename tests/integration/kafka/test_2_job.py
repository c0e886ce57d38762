# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The job that makes users, grants and topics: what it changes, and what it refuses to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource
from kafka_image import Brokers, run_job
from stream import PASSWORDS, consume, produce, settings, users


@pytest.fixture(scope="module")
def brokers(certificate: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    with Brokers.started(tmp_path_factory.mktemp("job"), 1, certificate) as found:
        yield found


def job(brokers: Brokers, topics: list[dict[str, Any]], declared: Any = None, **variables: str) -> list[str]:
    done = run_job(brokers, users() if declared is None else declared, topics, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.removeprefix("mlops-kafka: ") for line in done.stdout.splitlines()]


def topic(brokers: Brokers, name: str) -> tuple[int, dict[str, str]]:
    """Its partitions, and the settings that were set for it."""
    client = AdminClient(settings(brokers, "admin"))
    configs = client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name)])
    found = next(iter(configs.values())).result(30)
    own = {key: entry.value for key, entry in found.items() if entry.source == 1}
    return len(client.list_topics(name, timeout=30).topics[name].partitions), own


def test_topics_become_what_is_declared(brokers: Brokers) -> None:
    orders = {"name": "orders", "partitions": 2, "retention": "7d", "grants": {"etl": ["read", "write"]}}
    said = job(brokers, [orders])
    assert "topic orders: made" in said
    assert "user etl: may write topics orders" in said
    assert topic(brokers, "orders") == (2, {"retention.ms": "604800000"})
    assert job(brokers, [orders]) == []
    grown = {**orders, "partitions": 3, "retention": "1h", "cleanup": "compact", "settings": {"segment.ms": 60000}}
    assert "topic orders: 3 partitions; keys may lie in others than before" in job(brokers, [grown])
    assert topic(brokers, "orders") == (
        3,
        {"retention.ms": "3600000", "cleanup.policy": "compact", "segment.ms": "60000"},
    )
    assert job(brokers, [{"name": "orders", "grants": orders["grants"]}]) != []
    assert topic(brokers, "orders") == (3, {})


def test_nothing_is_taken_away(brokers: Brokers) -> None:
    job(brokers, [{"name": "wide", "partitions": 3}])
    assert produce(settings(brokers, "admin"), "wide", [b"1"]) == []
    done = run_job(brokers, users(), [{"name": "wide", "partitions": 2}])
    assert done.returncode == 1
    assert "topic wide: has 3 partitions, and 2 are declared" in done.stdout
    job(brokers, [])
    assert topic(brokers, "wide")[0] == 3


def test_a_changed_password_holds_at_once(brokers: Brokers) -> None:
    job(brokers, [])
    assert produce(settings(brokers, "serving"), "predictions.a", [b"1"]) == []
    new = users(serving="the next one", admin="that of the administrator, too")
    assert job(brokers, [], new) == []
    assert produce(settings(brokers, "serving", "the next one"), "predictions.a", [b"2"]) == []
    assert produce(settings(brokers, "serving"), "predictions.a", [b"x"], 4) == ["_MSG_TIMED_OUT"]
    administrator = AdminClient(settings(brokers, "admin", "that of the administrator, too"))
    assert "predictions.a" in administrator.list_topics(timeout=30).topics
    job(brokers, [])


def test_who_is_no_longer_declared_is_out(brokers: Brokers) -> None:
    grant = {"name": "orders2", "grants": {"etl": ["read", "write"]}}
    job(brokers, [grant])
    assert produce(settings(brokers, "etl"), "orders2", [b"1"]) == []
    assert job(brokers, [{"name": "orders2"}]) == [
        "user etl: may no longer read topics orders2",
        "user etl: may no longer write topics orders2",
    ]
    assert produce(settings(brokers, "etl"), "orders2", [b"x"], 5) == ["TOPIC_AUTHORIZATION_FAILED"]
    assert "user etl: removed" in job(brokers, [], [user for user in users() if user["name"] != "etl"])
    assert produce(settings(brokers, "etl"), "orders2", [b"x"], 4) == ["_MSG_TIMED_OUT"]


def test_as_a_user_it_makes_topics_and_leaves_users_alone(brokers: Brokers) -> None:
    """How the site's own brokers are administered."""
    job(brokers, [])
    password = brokers.directory / "admin"
    password.write_text(PASSWORDS["admin"])
    login = {
        "MLOPS_BROKER": brokers.addresses(),
        "KAFKA_CERTIFICATE_FILE": "",
        "MLOPS_BROKER_CA": str(brokers.ca),
        "MLOPS_BROKER_USERNAME": "admin",
        "MLOPS_BROKER_PASSWORD_FILE": str(password),
        "MLOPS_USERS": "",
    }
    assert job(brokers, [{"name": "theirs"}], **login) == ["topic theirs: made"]
    password.write_text("another password")
    refused = run_job(brokers, None, [{"name": "theirs"}], **{**login, "MLOPS_WAIT": "1"})
    assert refused.returncode == 1
    assert "lets admin in" in refused.stderr
    with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
        consume(settings(brokers, "drift"), "theirs", 1)


def test_wrong_declarations_are_named_at_once(brokers: Brokers) -> None:
    wrong = [{"name": "a b"}, {"name": "c", "partitions": 0, "retention": "1y", "grants": {"nobody": ["read"]}}]
    done = run_job(brokers, users(), [], MLOPS_TOPICS=json.dumps(wrong))
    assert done.returncode == 1
    for part in ("topic 'a b'", "partitions must be", "retention is such as", "aren't declared: nobody"):
        assert part in done.stderr
