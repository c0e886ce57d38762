# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What sets off a retraining, as alert rules in Prometheus's words: a pure function of a declaration."""

from __future__ import annotations

import json

from .retraining import Trigger
from .spec import ModelSpec

#: By this label the lifecycle controller knows the alerts that are for it.
PURPOSE_LABEL = "purpose"
RETRAINING = "retraining"

_NAMES = {"drift": "RetrainingDrift", "performance": "RetrainingPerformance", "promql": "RetrainingQuery"}
_SIGNS = {"above": ">", "below": "<"}
_WORST = {"above": "max", "below": "min"}


def alert_rules(spec: ModelSpec) -> list[dict[str, object]]:
    """One rule a trigger of ``retraining.on``: alert, expr, for, labels and annotations.

    An alert is about a model, and about a version where the series say which. Its label ``trigger`` is its place in the
    list, so that two of one kind are two alerts.
    """
    triggers = spec.retraining.on if spec.retraining else ()
    return [
        {
            "alert": _NAMES[trigger.kind],
            "expr": _expression(spec.name, trigger),
            "for": trigger.held,
            "labels": {PURPOSE_LABEL: RETRAINING, "model": spec.name, "trigger": str(place), "severity": "warning"},
            "annotations": {"summary": _summary(trigger)},
        }
        for place, trigger in enumerate(triggers)
    ]


def _expression(model: str, trigger: Trigger) -> str:
    selector = f"model={json.dumps(model)}"
    if trigger.kind == "drift":
        # Performance has a threshold of its own, and a trigger of its own.
        return f'max by (model, version) (mlops_drift_detected{{{selector},detector!="performance"}}) == 1'
    compared = f"{_SIGNS[trigger.side]} {trigger.limit:g}"
    if trigger.kind == "performance":
        series = f"mlops_model_performance{{{selector},metric={json.dumps(trigger.subject)}}}"
        return f"{_WORST[trigger.side]} by (model, version) ({series}) {compared}"
    return f"({trigger.subject}) {compared}"


def _summary(trigger: Trigger) -> str:
    what = {"drift": "drift", "performance": trigger.subject}.get(trigger.kind, "the query")
    limit = f" {trigger.side} {trigger.limit:g}" if trigger.side else ""
    return f"{what}{limit} for {trigger.held}"
