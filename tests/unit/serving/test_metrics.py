# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Counting in one process, adding up over several, and Prometheus's text."""

from __future__ import annotations

import json

from mlops_runtime.serving.metrics import REQUEST_BOUNDS, Registry, merge, model_labels, render, validate_metrics

LABELS = model_labels({"MLOPS_MODEL": "m", "MLOPS_MODEL_VERSION": "3", "PREDICTIVE_UNIT_IMAGE": "host:5000/image:1"})


def registry() -> Registry:
    return Registry(LABELS)


def test_the_version_is_the_registry_s() -> None:
    assert (LABELS["model_name"], LABELS["model_version"], LABELS["model_image"]) == ("m", "3", "host:5000/image")
    assert model_labels({"PREDICTIVE_UNIT_IMAGE": "image:1"})["model_version"] == "1"
    assert model_labels({"PREDICTOR_LABELS": "{nonsense"})["predictor_version"] == "NOT_IMPLEMENTED"


def test_several_workers_count_as_one() -> None:
    one, other = registry(), registry()
    for worker, value in ((one, 1.0), (other, 2.0)):
        worker.update([{"type": "COUNTER", "key": "seen", "value": value}], "predict")
        worker.update([{"type": "GAUGE", "key": "level", "value": value}], "predict")
        worker.update([{"type": "TIMER", "key": "took", "value": value}], "predict")
        worker.histogram("requests", {"a": "b"}, REQUEST_BOUNDS).observe(value)
        worker.reward(value)
    snapshots = [json.loads(json.dumps(worker.snapshot())) for worker in (one, other)]
    text = render(merge(snapshots)).decode()
    lines = {line.split("{")[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if "{" in line}
    assert lines["seen_total"] == 3.0
    assert lines["level"] == 2.0
    assert lines["took_count"] == 2.0
    assert lines["requests_sum"] == 3.0
    assert lines["seldon_api_model_feedback_total"] == 2.0
    assert lines["seldon_api_model_feedback_reward_total"] == 3.0
    assert text.count("# TYPE seen_total counter") == 1


def test_buckets_are_cumulative_and_end_with_all() -> None:
    worker = registry()
    for value in (0.0001, 0.002, 99.0):
        worker.histogram("h", {}, REQUEST_BOUNDS).observe(value)
    buckets = [line.rsplit(" ", 1)[1] for line in render(worker.snapshot()).decode().splitlines() if "h_bucket" in line]
    assert buckets[0] == "1" and buckets[-2:] == ["2", "3"]


def test_names_and_values_are_made_safe() -> None:
    worker = registry()
    worker.update([{"type": "COUNTER", "key": "my metric", "value": 1, "tags": {"a-b": 'say "x"\n'}}], "predict")
    assert r'my_metric_total{a_b="say \"x\"\n"' in render(worker.snapshot()).decode()


def test_what_a_class_may_report() -> None:
    assert validate_metrics([{"type": "TIMER", "key": "x", "value": 1}])
    assert not validate_metrics({"type": "TIMER"})
    assert not validate_metrics([{"type": "TIMER", "key": "x"}])
    assert not validate_metrics([{"type": "OTHER", "key": "x", "value": 1}])
    assert not validate_metrics([{"type": "GAUGE", "key": "x", "value": "1"}])
