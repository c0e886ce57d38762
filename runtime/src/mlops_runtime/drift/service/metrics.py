# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics, made from the streams when they are asked for: nothing to keep in step, and as many series as there are
models, versions, detectors and features."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from mlops_runtime.contracts import metrics
from mlops_runtime.drift.performance import PERFORMANCE
from mlops_runtime.drift.protocol import Reading
from mlops_runtime.drift.service.loop import Loop
from mlops_runtime.drift.service.partitions import Held

_LABELS = ["model", "version", "detector", "feature"]
_Place = tuple[str, str, str, str]


@dataclass(frozen=True)
class Seen:
    """What a partition shows at a scrape: numbers alone, so that the loop is held up for as little as can be."""

    model: str
    readings: list[tuple[str, str, Reading]]
    """Version, detector, reading."""
    rows: dict[str, int]
    quality: list[tuple[str, str, float, float]]
    """Version, feature, missing, invalid."""
    dead: dict[str, int]
    unwatched: dict[str, int]
    performance: list[tuple[str, str, float]]
    """Version, measure, its value."""
    labels: list[tuple[str, str, int]]
    """Version, what became of labels and of the predictions that wait for them, how many."""
    lag: int
    age: float

    @classmethod
    def of(cls, held: Held, names: Callable[[str, str], bool]) -> Seen:
        """`names`: whether a version of a model is one that the registry names. One that it doesn't is still scored for
        a while, since records of it are on their way; that it drifts is nobody's concern any more."""
        scored = held.stream.watchers
        watchers = {version: one for version, one in scored.items() if names(held.stream.model, version)}
        return cls(
            held.stream.model,
            [(version, *found) for version, watcher in watchers.items() for found in watcher.readings()],
            {version: watcher.rows for version, watcher in scored.items()},
            [(version, *found) for version, watcher in watchers.items() for found in watcher.quality.ratios()],
            dict(held.stream.dead),
            dict(held.stream.unwatched),
            [
                (version, *found)
                for version, watcher in watchers.items()
                if watcher.performance
                for found in watcher.performance.metrics().items()
            ],
            [
                (version, *found)
                for version, watcher in watchers.items()
                if watcher.performance
                for found in watcher.performance.counts.items()
            ],
            held.lag,
            time.monotonic() - held.snapshot_at if held.dirty else 0.0,
        )


class Collector:
    """What prometheus-client asks at each scrape."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def collect(self) -> Iterator[Metric]:
        seen = []
        for held in self._loop.partitions:
            with self._loop.lock:
                seen.append(Seen.of(held, self._loop.names))
        yield from [*_readings(seen), *_rows(seen), *_quality(seen), *_performance(seen), *_progress(seen)]


def worst_readings(seen: list[Seen]) -> dict[_Place, Reading]:
    """Of each statistic the partition's that is nearest to its threshold; events are all partitions' together."""
    found: dict[_Place, Reading] = {}
    for partition in seen:
        for version, detector, reading in partition.readings:
            place = (partition.model, version, detector, reading.feature)
            other = found.get(place)
            if other is not None:
                high = max(reading, other, key=lambda one: one.ratio)
                drifting, events = reading.drifting or other.drifting, reading.events + other.events
                reading = Reading(high.statistic, high.threshold, high.feature, drifting, events)
            found[place] = reading
    return found


def _readings(seen: list[Seen]) -> list[Metric]:
    statistic = GaugeMetricFamily(metrics.DRIFT_STATISTIC, "A detector's test statistic.", labels=_LABELS)
    threshold = GaugeMetricFamily(metrics.DRIFT_THRESHOLD, "Above it, a statistic means drift.", labels=_LABELS)
    ratio = GaugeMetricFamily(metrics.DRIFT_SCORE_RATIO, "Statistic over threshold: above 1 is drift.", labels=_LABELS)
    detected = GaugeMetricFamily(metrics.DRIFT_DETECTED, "1 from an alarm until it has been calm.", labels=_LABELS)
    events = CounterMetricFamily(metrics.DRIFT_EVENTS, "Alarms.", labels=_LABELS)
    value = GaugeMetricFamily(metrics.DRIFT_VALUE, "The largest score ratio of a model.", labels=["model"])
    largest: dict[str, float] = {}
    for place, reading in worst_readings(seen).items():
        statistic.add_metric(place, reading.statistic)
        threshold.add_metric(place, reading.threshold)
        ratio.add_metric(place, reading.ratio)
        detected.add_metric(place, float(reading.drifting))
        events.add_metric(place, reading.events)
        if place[2] != PERFORMANCE:
            largest[place[0]] = max(largest.get(place[0], 0.0), reading.ratio)
    for model, most in largest.items():
        value.add_metric([model], most)
    return [statistic, threshold, ratio, detected, events, value]


def _rows(seen: list[Seen]) -> list[Metric]:
    rows = CounterMetricFamily(
        metrics.DRIFT_ROWS, "Rows scored; messages rejected, and passed over.", labels=["model", "version", "outcome"]
    )
    letters = CounterMetricFamily(metrics.DRIFT_DEAD_LETTERS, "Dead letters.", labels=["model", "reason"])
    counts: Counter[tuple[str, str, str]] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    for partition in seen:
        model = partition.model
        for version, count in partition.rows.items():
            counts[model, version, "scored"] += count
        for version, count in partition.unwatched.items():
            counts[model, version, "unwatched"] += count
        for reason, count in partition.dead.items():
            counts[model, "", "rejected"] += count
            reasons[model, reason] += count
    for place, count in counts.items():
        rows.add_metric(place, count)
    for reasoned, count in reasons.items():
        letters.add_metric(reasoned, count)
    return [rows, letters]


def _quality(seen: list[Seen]) -> list[Metric]:
    labels = ["model", "version", "feature"]
    missing = GaugeMetricFamily(metrics.DRIFT_FEATURE_MISSING_RATIO, "Missing, of the latest values.", labels=labels)
    invalid = GaugeMetricFamily(
        metrics.DRIFT_FEATURE_INVALID_RATIO,
        "Out of range or of no known category, of the latest values.",
        labels=labels,
    )
    worst: dict[tuple[str, str, str], tuple[float, float]] = {}
    for partition in seen:
        for version, name, lacking, wrong in partition.quality:
            place = (partition.model, version, name)
            before = worst.get(place, (0.0, 0.0))
            worst[place] = max(lacking, before[0]), max(wrong, before[1])
    for place, pair in worst.items():
        missing.add_metric(place, pair[0])
        invalid.add_metric(place, pair[1])
    return [missing, invalid]


def _performance(seen: list[Seen]) -> list[Metric]:
    """A measure is the mean of the partitions': each has its share of the same stream."""
    measured = GaugeMetricFamily(
        metrics.MODEL_PERFORMANCE, "Over the newest rows.", labels=["model", "version", "metric"]
    )
    labels = CounterMetricFamily(
        metrics.MODEL_LABELS, "What became of predictions and labels.", labels=["model", "version", "outcome"]
    )
    values: dict[tuple[str, str, str], list[float]] = {}
    counts: Counter[tuple[str, str, str]] = Counter()
    for partition in seen:
        for version, name, value in partition.performance:
            values.setdefault((partition.model, version, name), []).append(value)
        for version, outcome, count in partition.labels:
            counts[partition.model, version, outcome] += count
    for place, of_partitions in values.items():
        measured.add_metric(place, sum(of_partitions) / len(of_partitions))
    for counted, total in counts.items():
        labels.add_metric(counted, total)
    return [measured, labels]


def _progress(seen: list[Seen]) -> list[Metric]:
    lag = GaugeMetricFamily(metrics.DRIFT_LAG_MESSAGES, "Messages that wait to be scored.", labels=["model"])
    age = GaugeMetricFamily(
        metrics.DRIFT_SNAPSHOT_AGE_SECONDS,
        "Since the state was written last; 0 where it hasn't changed.",
        labels=["model"],
    )
    lags: Counter[str] = Counter()
    ages: dict[str, float] = {}
    for partition in seen:
        lags[partition.model] += partition.lag
        ages[partition.model] = max(ages.get(partition.model, 0.0), partition.age)
    for model in lags:
        lag.add_metric([model], lags[model])
        age.add_metric([model], ages[model])
    return [lag, age]
