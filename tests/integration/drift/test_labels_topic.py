# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Labels that arrive late on their own topic: each joined once, whatever ends the replica in between."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
from mlops_runtime.drift.fitting import fit
from stand import NAMES, Service, read_all, record, running, send, topics, until

COUNT = 3000


def world(count: int, seed: int, flipped: float = 0.0) -> tuple[list[list[float]], list[list[float]], list[int]]:
    """Rows, a fair model's probabilities, and truths, of which a share is turned around."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, len(NAMES)))
    chance = 1 / (1 + np.exp(-3 * rows[:, 0]))
    truth = (rng.random(count) < chance) ^ (rng.random(count) < flipped)
    return rows.tolist(), np.column_stack([1 - chance, chance]).tolist(), truth.astype(int).tolist()


def counts(service: Service) -> dict[str, float]:
    """What became of labels, by outcome."""
    text = service.get("/metrics")[1]
    found = re.findall(r'^mlops_model_labels_total\{model="m",outcome="(\w+)",version="1"\} (\S+)$', text, re.MULTILINE)
    return {outcome: float(value) for outcome, value in found}


def test_every_label_counts_once(broker: str, tmp_path: Path) -> None:
    chance = random.Random(5)
    prefix = "late."
    topics(broker, "late.m", "late.m.labels", "late.m.dead")
    rows, answers, labels = world(2000, 0)
    fit(
        np.array(rows),
        NAMES,
        detectors=["cusum"],
        directory=tmp_path / "models/m/1",
        model="m",
        outputs=answers,
        labels=labels,
        output_detectors=[],
        performance={"window": 500},
    )
    rows, answers, labels = world(COUNT, 1, flipped=0.3)
    sent = [record("m", f"r{at}", [rows[at]], Y=[answers[at]]) for at in range(COUNT)]
    known = [json.dumps({"id": f"r{at}", "y": truth}).encode() for at, truth in enumerate(labels)]
    known[100:100] = [b"{", json.dumps({"id": "r1", "y": "perhaps"}).encode()]
    service = Service(
        broker, tmp_path / "models", tmp_path / "log", "one", MLOPS_TOPIC_PREFIX=prefix, MLOPS_DRIFT_GROUP=prefix
    )
    with running(service):
        for begin in range(0, COUNT, 1000):
            send(broker, "late.m", sent[begin : begin + 1000])
            send(broker, "late.m.labels", known[begin : begin + 700])
            until(lambda least=begin: counts(service).get("joined", 0) > least * 0.5, "labels joined")
            service.stop(hard=chance.random() < 0.7)
            service.start()
        for begin in range(700, COUNT, 1000):
            send(broker, "late.m.labels", known[begin : begin + 300])
        send(broker, "late.m.labels", known[COUNT:])
        until(lambda: counts(service).get("joined") == COUNT, f"{COUNT} labels joined")
        assert {name: value for name, value in counts(service).items() if value} == {"joined": COUNT}
        state = until(
            lambda: next((one for one in service.partitions().values() if one["labels_offset"] == len(known)), None),
            "all labels read",
        )
        measured = state["versions"]["1"]["performance"]
        assert measured["accuracy"] < measured["estimated_accuracy"] - 0.1  # a loss without drift
        assert "accuracy" in {alarm["feature"] for alarm in state["alarms"] if alarm["detector"] == "performance"}
        text = service.get("/metrics")[1]
        assert re.search(r'^mlops_model_performance\{metric="accuracy",model="m",version="1"\} 0\.', text, re.MULTILINE)
        letters = until(lambda: [letter.headers for letter in read_all(broker, "late.m.dead")], "dead letters")
    assert sorted((letter["reason"], letter["topic"]) for letter in letters) == [
        ("bad_json", "late.m.labels"),
        ("wrong_label", "late.m.labels"),
    ]


def test_a_model_without_a_labels_topic_is_watched_all_the_same(broker: str, tmp_path: Path) -> None:
    topics(broker, "none.m", "none.m.dead")
    rows, answers, labels = world(500, 0)
    fit(
        np.array(rows),
        NAMES,
        detectors=["cusum"],
        directory=tmp_path / "models/m/1",
        model="m",
        outputs=answers,
        labels=labels,
        output_detectors=[],
        performance={},
    )
    service = Service(
        broker, tmp_path / "models", tmp_path / "log", "one", MLOPS_TOPIC_PREFIX="none.", MLOPS_DRIFT_GROUP="none."
    )
    with running(service):
        for begin in range(0, 200, 100):
            values = [record("m", f"r{at}", [rows[at]], Y=[answers[at]]) for at in range(begin, begin + 100)]
            send(broker, "none.m", values)
            until(
                lambda least=begin + 100: [one for one in service.partitions().values() if one["committed"] == least],
                f"{begin + 100} records committed",
            )
        assert service.ready()["status"] == "ready"
