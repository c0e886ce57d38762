# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Poison, brokers that go, topics without rights or none at all: said where one looks, and no other model suffers."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer
from mlops_runtime.drift.service.ledger import CommitError, Entry, Ledger
from servers.kafka import Kafka
from stand import Service, drifting, fitted, read_all, record, running, send, topics, until


def scored(service: Service, model: str, offset: int) -> dict[str, Any] | None:
    """Its only partition's state, once everything before the offset is scored and committed."""
    partition = service.partitions().get((model, 0))
    return partition if partition is not None and partition["committed"] == offset else None


def away(service: Service) -> bool:
    """Whether it says that the broker isn't there."""
    ready = service.ready()
    return ready["status"] == "not ready" and any(reason.startswith("broker") for reason in ready["reasons"])


def poison(name: str) -> dict[str, bytes]:
    good = [[0.1, 0.2, 0.3, 0.4, 0.5]]
    return {
        "bad_json": b'{"X": [[1, 2',
        "not_a_record": b"[]",
        "newer_schema": record("m", f"{name}-schema", good, schema=2),
        "unknown_model": record("other", f"{name}-model", good),
        "unknown_version": record("m", f"{name}-version", good, version="99"),
        "wrong_shape": record("m", f"{name}-shape", [[0.1]]),
        "wrong_names": record("m", f"{name}-names", good, names=["a", "b", "c", "d", "e"]),
        "wrong_type": record("m", f"{name}-type", [["0.1", 0.2, 0.3, 0.4, 0.5]]),
        "non_finite": record("m", f"{name}-nan", [[float("nan"), 0.2, 0.3, 0.4, 0.5]]),
        "too_large": record("m", f"{name}-large", good, pad="x" * 5_000_000),
        "duplicate": b"",
    }


def test_poison_of_every_kind_is_kept_with_its_reason(broker: str, tmp_path: Path) -> None:
    """1 % of the stream; alarms come at the same rows as without it."""
    prefix, topic = "poison.", "poison.m"
    topics(broker, topic, **{"max.message.bytes": "8000000"})
    topics(broker, f"{topic}.dead", "poison.clean", "poison.clean.dead")
    models = tmp_path / "models"
    fitted(models, "m")
    fitted(models, "clean")
    values = drifting("m", 3000, 1)
    chance = random.Random(1)
    mixed: list[bytes] = []
    sent: dict[str, list[bytes]] = {}
    for value in values:
        mixed.append(value)
        if chance.random() < 0.011:
            reason, bad = list(poison(str(len(mixed))).items())[sum(map(len, sent.values())) % 11]
            bad = bad or value
            mixed.append(bad)
            sent.setdefault(reason, []).append(bad)
    assert len(sent) == 11
    service = Service(broker, models, tmp_path / "log", "one", MLOPS_TOPIC_PREFIX=prefix, MLOPS_DRIFT_GROUP=prefix)
    clean = [value.replace(b'"model": "m"', b'"model": "clean"') for value in values]
    with running(service):
        send(broker, topic, mixed)
        send(broker, "poison.clean", clean)
        with_poison = until(lambda: scored(service, "m", len(mixed)), "all scored")
        without = until(lambda: scored(service, "clean", len(clean)), "all scored")
        metrics = service.get("/metrics")[1]
    assert with_poison["dead"] == {reason: len(bad) for reason, bad in sent.items()}
    assert [(a["detector"], a["row"], a["statistic"]) for a in with_poison["alarms"]] == [
        (a["detector"], a["row"], a["statistic"]) for a in without["alarms"]
    ]
    assert without["dead"] == {}
    letters = read_all(broker, f"{topic}.dead")
    found: dict[str, list[bytes]] = {}
    for letter in letters:
        assert letter.value is not None
        assert mixed[int(letter.headers["offset"])].startswith(letter.value)
        assert letter.headers["topic"] == topic
        found.setdefault(letter.headers["reason"], []).append(letter.value)
        if letter.headers["reason"] == "too_large":
            assert len(letter.headers["sha256"]) == 64
            assert int(letter.headers["size"]) > 5_000_000
    assert {reason: len(bad) for reason, bad in found.items()} == with_poison["dead"]
    for reason, bad in sent.items():
        assert f'mlops_drift_dead_letters_total{{model="m",reason="{reason}"}} {float(len(bad))}' in metrics


def test_a_broker_that_comes_late_and_goes(tmp_path: Path) -> None:
    kafka = Kafka(tmp_path / "kafka", {"transaction.state.log.num.partitions": "4"})
    models = tmp_path / "models"
    fitted(models, "m")
    service = Service(kafka.address, models, tmp_path / "log", "one")
    values = drifting("m", 1200, 2)
    try:
        with running(service):
            until(
                lambda: (
                    (r := service.ready())["status"] == "not ready"
                    and any("consumer group" in reason or "broker" in reason for reason in r["reasons"])
                ),
                "it says that the broker isn't there",
            )
            assert service.get("/health/live")[0] == 200
            kafka.start()
            topics(kafka.address, "predictions.m", "predictions.m.dead")
            send(kafka.address, "predictions.m", values[:400])
            until(lambda: scored(service, "m", 400), "the first part scored")
            until(lambda: service.ready()["status"] == "ready", "ready")
            kafka.stop()
            until(lambda: away(service), "it says that the broker is away")
            kafka.start()
            send(kafka.address, "predictions.m", values[400:800])
            until(lambda: scored(service, "m", 800), "the second part scored")
            kafka.stop(hard=True)
            # This time the client hasn't found all that it looks for on a broker before it is gone.
            until(lambda: away(service), "it says so again")
            kafka.start()
            send(kafka.address, "predictions.m", values[800:])
            end = until(lambda: scored(service, "m", 1200), "the last part scored")
            until(lambda: service.ready()["status"] == "ready", "ready again")
        assert end["versions"]["1"]["rows"] == sum(len(json.loads(value)["X"]) for value in values)
        assert end["dead"] == {}
    finally:
        kafka.stop()


def test_a_dead_letter_topic_that_is_missing_stops_that_model_alone(broker: str, tmp_path: Path) -> None:
    prefix = "nodead."
    topics(broker, "nodead.a", "nodead.b", "nodead.b.dead")
    models = tmp_path / "models"
    fitted(models, "a")
    fitted(models, "b")
    service = Service(broker, models, tmp_path / "log", "one", MLOPS_TOPIC_PREFIX=prefix, MLOPS_DRIFT_GROUP=prefix)
    with running(service):
        send(broker, "nodead.a", [*drifting("a", 50, 1), b"{", *drifting("a", 50, 2)])
        send(broker, "nodead.b", [*drifting("b", 50, 1), b"{", *drifting("b", 50, 2)])
        until(lambda: scored(service, "b", 101), "the other model is scored")
        ready = until(lambda: (r := service.ready())["problems"] and r, "it is said")
        assert "nodead.a.dead" in ready["problems"]["nodead.a [0]"]
        assert ready["status"] in ("ready", "lagging")
        send(broker, "nodead.b", drifting("b", 50, 3))
        until(lambda: scored(service, "b", 151), "the other model goes on")
        topics(broker, "nodead.a.dead")
        until(lambda: scored(service, "a", 101), "it goes on once the topic is there")
    assert [letter.value for letter in read_all(broker, "nodead.a.dead")] == [b"{"]


def test_a_topic_that_comes_late_and_an_artefact_that_is_broken(broker: str, tmp_path: Path) -> None:
    prefix = "later."
    models = tmp_path / "models"
    fitted(models, "a")
    fitted(models, "a", "2")
    fitted(models, "b")
    (models / "a" / "2" / "cusum.npz").write_bytes(b"tampered")
    topics(broker, "later.a", "later.a.dead")
    service = Service(broker, models, tmp_path / "log", "one", MLOPS_TOPIC_PREFIX=prefix, MLOPS_DRIFT_GROUP=prefix)
    with running(service):
        send(broker, "later.a", [*drifting("a", 50, 1), *drifting("a", 10, 2, version="2")])
        state = until(lambda: scored(service, "a", 60), "scored")
        assert state["unwatched"] == {"2": 10}
        assert state["dead"] == {}
        ready = until(lambda: (r := service.ready())["problems"] and r, "the missing topic is said")
        assert "later.b" in ready["problems"]
        assert "it was changed" in ready["models"]["a"]["2"]
        topics(broker, "later.b", "later.b.dead")
        send(broker, "later.b", drifting("b", 50, 1))
        until(lambda: scored(service, "b", 50), "the late topic is scored")
        fitted(models, "a", "3")
        send(broker, "later.a", drifting("a", 20, 3, version="3"))
        late = until(lambda: scored(service, "a", 80), "a version that comes with its first records is scored")
        assert late["dead"] == {}
        assert "3" in late["versions"]


def test_a_producer_whose_name_another_has_taken_says_so(broker: str) -> None:
    """It may not end the service: the client's own error at that comes in more than one form."""
    topics(broker, "fenced", "fenced.state")
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "fenced"})
    consumer.subscribe(["fenced"])
    until(lambda: consumer.poll(0.1) is None and consumer.assignment(), "a part of the group")
    entry = [Entry(("fenced", 0), 0, None, b"state")]
    for _ in range(3):
        old, new = (Ledger({"bootstrap.servers": broker}, "fenced.state", "fenced", "one") for _ in range(2))
        old.prepare()
        new.prepare()
        with pytest.raises(CommitError, match="fenced") as raised:
            old.commit(entry, consumer.consumer_group_metadata())
        assert raised.value.fatal
        new.commit(entry, consumer.consumer_group_metadata())
    consumer.close()
