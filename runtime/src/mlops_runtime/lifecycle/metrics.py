# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The controller's metrics, under the names of the contracts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from mlops_runtime.contracts import metrics

ALERTS = Counter(metrics.LIFECYCLE_ALERTS, "Alerts that came.", ["outcome"])
DECISIONS = Counter(metrics.LIFECYCLE_DECISIONS, "Decisions about episodes.", ["decision"])
RUNS = Counter(metrics.LIFECYCLE_RUNS, "Retraining runs that were started, and how they ended.", ["outcome"])
EPISODES = Gauge(metrics.LIFECYCLE_EPISODES, "Open episodes.", ["model", "state"])
FAILURES = Counter(metrics.LIFECYCLE_FAILURES, "Times that something the controller needs didn't answer.", ["system"])
STAGE_SECONDS = Gauge(metrics.LOOP_STAGE_SECONDS, "What the stage took, the last time.", ["model", "stage"])
