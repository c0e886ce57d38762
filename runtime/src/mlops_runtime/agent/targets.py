# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told to scrape: every task of every workload that declares metrics, in any set.

The format is Prometheus's HTTP service discovery
(https://prometheus.io/docs/prometheus/latest/http_sd/): a list of groups of targets and labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from _workload import Observed

from .traefik import authority

ENDED = frozenset({"complete", "failed", "shutdown", "rejected", "orphaned", "remove"})
MODEL_LABELS = {"model": "model", "model.version": "version", "model.role": "role"}
"""Labels of a workload that serves a model, and what they are called on its series."""


def target_groups(observed: Iterable[Observed]) -> list[dict[str, Any]]:
    """One group a task. One that isn't healthy is there, too: its `up` tells that it can't be scraped."""
    return [
        {"targets": [target], "labels": {**_labels(item), "node": node}}
        for item in sorted(observed, key=lambda item: (item.set_name, item.name))
        if item.kind == "service" and item.metrics
        for target, node in _targets(item, int(item.metrics["port"]))
    ]


def _targets(item: Observed, port: int) -> list[tuple[str, str]]:
    """Address and node of each task that runs or starts. A scraper is in all zones: any of a task's addresses does."""
    found = []
    for task in item.tasks:
        address = task.addresses.get(item.zone or "") or min(task.addresses.values(), default="")
        if address and task.state not in ENDED:
            found.append((authority(address, port), task.node))
    return sorted(found)


def _labels(item: Observed) -> dict[str, str]:
    path = str((item.metrics or {}).get("path") or "/metrics")
    labels = {"__metrics_path__": path, "set": item.set_name, "workload": item.name}
    return labels | {name: item.labels[label] for label, name in MODEL_LABELS.items() if item.labels.get(label)}
