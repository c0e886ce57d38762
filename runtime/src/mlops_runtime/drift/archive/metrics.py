# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Health and metrics of the archive."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from mlops_runtime.contracts import metrics
from mlops_runtime.drift.archive.loop import Loop

_STUCK_SECONDS: Final = 900.0
"""Longer than a chunk takes to be written, however slow MLflow is."""


class Collector:
    """What prometheus-client asks at each scrape."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def collect(self) -> Iterator[Metric]:
        counts = dict(self._loop.counts)
        rows = CounterMetricFamily(metrics.ARCHIVE_ROWS, "Rows that were stored.", labels=["model", "kind"])
        unreadable = CounterMetricFamily(metrics.ARCHIVE_UNREADABLE, "Messages that are no record.", labels=["model"])
        size = CounterMetricFamily(metrics.ARCHIVE_BYTES, "Bytes that were stored.", labels=["model"])
        deleted = CounterMetricFamily(metrics.ARCHIVE_DELETED, "Files whose time was over.", labels=["model"])
        families = {"rows": rows, "unreadable": unreadable, "bytes": size, "deleted": deleted}
        for (name, *labels), count in counts.items():
            if name in families:
                families[name].add_metric(labels, count)
        yield from families.values()
        failures = counts.get(("failures",), 0)
        yield CounterMetricFamily(metrics.ARCHIVE_FAILURES, "MLflow didn't take or give something.", value=failures)
        age = GaugeMetricFamily(metrics.ARCHIVE_AGE_SECONDS, "Of the oldest that isn't stored.", labels=["model"])
        for model, seconds in self._loop.oldest().items():
            age.add_metric([model], seconds)
        yield age


def health(loop: Loop, what: str) -> tuple[int, dict[str, Any]]:
    """`live`: a restart wouldn't help. `ready`: MLflow and the broker do what they are asked for."""
    if what == "live":
        age = time.monotonic() - loop.beat
        return (200 if age < _STUCK_SECONDS else 503), {"status": "ok" if age < _STUCK_SECONDS else "stuck", "age": age}
    return (503 if loop.problem else 200), {"status": "not ready" if loop.problem else "ready", "reason": loop.problem}
