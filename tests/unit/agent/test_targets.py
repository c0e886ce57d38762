# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told to scrape."""

from __future__ import annotations

from typing import Any

from _workload.base import Observed, ObservedTask
from fakes import task, workload
from mlops_runtime.agent.targets import target_groups

METRICS = {"port": 6000, "path": "/prometheus"}


def model(*tasks: ObservedTask, **more: Any) -> Observed:
    labels = {"model": "phishing", "model.version": "3", "model.role": "champion"}
    fields = {"set_name": "models", "zone": "models", "metrics": METRICS, "labels": labels, **more}
    return workload("model-phishing", *tasks, **fields)


def at(address: str, state: str = "running", **addresses: str) -> ObservedTask:
    return ObservedTask(f"task-{address}", "node1", state, state == "running", addresses or {"models": address})


def test_a_model_s_series_say_which_version_answers_where() -> None:
    assert target_groups([model(at("10.0.0.7"))]) == [
        {
            "targets": ["10.0.0.7:6000"],
            "labels": {
                "__metrics_path__": "/prometheus",
                "set": "models",
                "workload": "model-phishing",
                "model": "phishing",
                "version": "3",
                "role": "champion",
                "node": "node1",
            },
        }
    ]


def test_a_workload_without_metrics_is_left_alone() -> None:
    assert target_groups([workload("mlflow", task(1)), workload("job", task(2), kind="job", metrics=METRICS)]) == []


def test_every_task_that_runs_or_starts_is_a_target_and_none_that_has_ended() -> None:
    tasks = [at("10.0.0.9"), at("10.0.0.8", "starting"), at("10.0.0.7", "failed"), at("10.0.0.6", "shutdown")]
    assert [group["targets"] for group in target_groups([model(*tasks)])] == [["10.0.0.8:6000"], ["10.0.0.9:6000"]]


def test_the_address_is_that_of_the_workload_s_own_zone_where_it_has_one() -> None:
    several = at("", edge="10.1.0.1", models="10.5.0.1")
    assert target_groups([model(several)])[0]["targets"] == ["10.5.0.1:6000"]
    assert target_groups([model(several, zone=None)])[0]["targets"] == ["10.1.0.1:6000"]
    assert target_groups([model(ObservedTask("new", "node1", "starting", False, {}))]) == []
    assert target_groups([model(at("fd00::7"))])[0]["targets"] == ["[fd00::7]:6000"]


def test_the_same_cluster_is_told_in_the_same_order() -> None:
    items = [model(at("10.0.0.1"), at("10.0.0.2")), workload("agent", at("10.0.0.3"), metrics=METRICS)]
    assert target_groups(items) == target_groups(reversed(items))
