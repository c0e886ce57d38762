# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Alert rules of what sets off a retraining."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec import alert_rules, parse_model
from ansible_collections.mlops.onprem.plugins.plugin_utils import model_filters as subject

WATCHED = {"drift": {"detectors": ["ewma"], "artefact": "drift", "labels": True}}


def rules(declared: dict[str, Any], *on: dict[str, Any]) -> list[dict[str, Any]]:
    retraining = {"flow": "flows.py:retrain", "gate": {"metric": "f1"}, "on": list(on)}
    spec, problems = parse_model({**declared, **WATCHED, "retraining": retraining}, "iris")
    assert problems == [] and spec
    return [dict(rule) for rule in alert_rules(spec)]


@pytest.mark.parametrize(
    ("trigger", "name", "expression", "held", "summary"),
    [
        (
            {"drift": True, "for": "2m"}, "RetrainingDrift",
            'max by (model, version) (mlops_drift_detected{model="iris",detector!="performance"}) == 1', "2m",
            "drift for 2m",
        ),
        (
            {"performance": "f1", "below": 0.9}, "RetrainingPerformance",
            'min by (model, version) (mlops_model_performance{model="iris",metric="f1"}) < 0.9', "1m",
            "f1 below 0.9 for 1m",
        ),
        (
            {"performance": "estimated_log_loss", "above": 2}, "RetrainingPerformance",
            'max by (model, version) (mlops_model_performance{model="iris",metric="estimated_log_loss"}) > 2', "1m",
            "estimated_log_loss above 2 for 1m",
        ),
        (
            {"promql": "rate(errors[5m]) or vector(0)", "above": 0.25, "for": "0s"}, "RetrainingQuery",
            "(rate(errors[5m]) or vector(0)) > 0.25", "0s", "the query above 0.25 for 0s",
        ),
    ],
)  # fmt: skip
def test_by_table(
    declared: dict[str, Any], trigger: dict[str, Any], name: str, expression: str, held: str, summary: str
) -> None:
    [rule] = rules(declared, trigger)
    assert (rule["alert"], rule["expr"], rule["for"]) == (name, expression, held)
    assert rule["labels"] == {"purpose": "retraining", "model": "iris", "trigger": "0", "severity": "warning"}
    assert rule["annotations"] == {"summary": summary}


def test_two_of_one_kind_are_two_alerts(declared: dict[str, Any]) -> None:
    found = rules(declared, {"performance": "f1", "below": 0.9}, {"performance": "f1", "below": 0.5})
    assert [rule["labels"]["trigger"] for rule in found] == ["0", "1"]


def test_only_models_that_alerts_retrain_have_a_group(declared: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "drift").mkdir()
    declared = {**declared, **WATCHED}
    retraining = {"flow": "flows.py:retrain", "gate": {"metric": "f1"}}
    models = [
        declared,
        {**declared, "name": "a", "retraining": {**retraining, "schedule": {"interval": "7d"}}},
        {**declared, "name": "b", "retraining": {**retraining, "on": [{"drift": True}]}},
    ]
    [group] = subject.model_alert_groups(models, str(tmp_path))
    assert group["name"] == "retraining of b" and len(group["rules"]) == 1
