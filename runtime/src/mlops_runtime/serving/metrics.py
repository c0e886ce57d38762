# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Counters, gauges and histograms of one process, and what several processes counted together.

A worker counts in plain dictionaries. The supervisor, when scraped, asks every worker for a snapshot and adds them up.
"""

from __future__ import annotations

import json
import os
import re
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mlops_runtime.contracts import environment
from mlops_runtime.contracts.metrics import FEEDBACK, FEEDBACK_REWARD

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]
# [name, labels, value]; of a gauge [name, labels, value, when]; of a histogram [name, labels, bounds, counts, sum]
Snapshot = dict[str, list[list[Any]]]

COUNTER: Final = "COUNTER"
GAUGE: Final = "GAUGE"
TIMER: Final = "TIMER"

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_BOUNDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
# Those of Seldon's wrapper for the timers of a class: 50 of equal ratio from 1 ms to 30 s.
TIMER_BOUNDS: Final = tuple(0.001 * 30000 ** (step / 49) for step in range(50))

UNKNOWN: Final = "NOT_IMPLEMENTED"


def model_labels(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The labels that Seldon puts on each metric of a model, with the version that really serves."""
    image, _, tag = env.get(environment.UNIT_IMAGE, f"{UNKNOWN}:{UNKNOWN}").rpartition(":")
    try:
        predictor_version = str(json.loads(env.get(environment.PREDICTOR_LABELS, "{}")).get("version", UNKNOWN))
    except (ValueError, AttributeError):
        predictor_version = UNKNOWN
    return {
        "deployment_name": env.get(environment.DEPLOYMENT_ID, UNKNOWN),
        "model_name": env.get(environment.UNIT_ID) or env.get(environment.MODEL, UNKNOWN),
        "model_image": image,
        "model_version": env.get(environment.MODEL_VERSION) or tag,
        "predictor_name": env.get(environment.PREDICTOR_ID, UNKNOWN),
        "predictor_version": predictor_version,
    }


class Histogram:
    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Registry:
    """What one process counted. Not for several threads at once."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = dict(labels)
        # Names that Seldon's wrapper keeps for dashboards from before its version 1.3
        self.custom_labels = {
            **labels,
            "seldon_deployment_name": labels["deployment_name"],
            "image_name": labels["model_image"],
            "image_version": labels["model_version"],
        }
        self._counters: dict[Key, float] = {}
        self._gauges: dict[Key, tuple[float, float]] = {}
        self._histograms: dict[Key, Histogram] = {}

    def histogram(self, name: str, labels: Mapping[str, str], bounds: tuple[float, ...]) -> Histogram:
        key = (name, tuple(labels.items()))
        if key not in self._histograms:
            self._histograms[key] = Histogram(bounds)
        return self._histograms[key]

    def update(self, metrics: Iterable[dict[str, Any]], method: str) -> None:
        """Take what a class reported: `{"type": "COUNTER", "key": ..., "value": ..., "tags": {...}}`."""
        for metric in metrics:
            # As in the wrapper, the method is written into tags that the class gave, and so is seen in the answer.
            tags = metric.get("tags", {})
            tags["method"] = method
            labels = {**{_clean(name): str(value) for name, value in tags.items()}, **self.custom_labels}
            key = (_clean(metric["key"]), tuple(labels.items()))
            kind, value = metric.get("type", COUNTER), float(metric["value"])
            if kind == COUNTER:
                self._counters[key] = self._counters.get(key, 0.0) + value
            elif kind == GAUGE:
                self._gauges[key] = (value, time.time())
            elif kind == TIMER:  # in milliseconds
                self.histogram(key[0], labels, TIMER_BOUNDS).observe(value / 1000)

    def count(self, name: str, labels: Mapping[str, str], value: float) -> None:
        key = (name, tuple(labels.items()))
        self._counters[key] = self._counters.get(key, 0.0) + value

    def reward(self, reward: float) -> None:
        if reward:
            self.update([{"type": COUNTER, "key": FEEDBACK, "value": 1}], "feedback")
            self.update([{"type": COUNTER, "key": FEEDBACK_REWARD, "value": reward}], "feedback")

    def snapshot(self) -> Snapshot:
        return {
            "counters": [[name, labels, value] for (name, labels), value in self._counters.items()],
            "gauges": [[name, labels, value, when] for (name, labels), (value, when) in self._gauges.items()],
            "histograms": [
                [name, labels, held.bounds, held.counts, held.sum] for (name, labels), held in self._histograms.items()
            ],
        }


def _clean(name: Any) -> str:
    """A name that Prometheus takes; one bad name would make the whole page unreadable for it."""
    cleaned = re.sub(r"[^A-Za-z0-9_:]", "_", str(name))
    return cleaned if cleaned[:1].isalpha() or cleaned[:1] == "_" else f"_{cleaned}"


def validate_metrics(metrics: Any) -> bool:
    """Whether a class's metrics are a list of well-formed ones."""
    if not isinstance(metrics, list):
        return False
    for metric in metrics:
        if not (isinstance(metric, dict) and {"key", "value", "type"} <= metric.keys()):
            return False
        if metric["type"] not in (COUNTER, GAUGE, TIMER):
            return False
        try:
            metric["value"] + 1
        except TypeError:
            return False
    return True


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Several processes' snapshots as one: sums; of a gauge the value set last."""
    counters: dict[Key, float] = {}
    gauges: dict[Key, tuple[float, float]] = {}
    histograms: dict[Key, tuple[Any, list[int], float]] = {}
    for snapshot in snapshots:
        for name, labels, value in snapshot["counters"]:
            key = _key(name, labels)
            counters[key] = counters.get(key, 0.0) + value
        for name, labels, value, when in snapshot["gauges"]:
            key = _key(name, labels)
            if key not in gauges or when >= gauges[key][1]:
                gauges[key] = (value, when)
        for name, labels, bounds, counts, total in snapshot["histograms"]:
            key = _key(name, labels)
            _, held, held_sum = histograms.get(key, (bounds, [0] * len(counts), 0.0))
            histograms[key] = (bounds, [a + b for a, b in zip(held, counts, strict=True)], held_sum + total)
    return {
        "counters": [[name, labels, value] for (name, labels), value in counters.items()],
        "gauges": [[name, labels, value, when] for (name, labels), (value, when) in gauges.items()],
        "histograms": [[name, labels, *rest] for (name, labels), rest in histograms.items()],
    }


def _key(name: str, labels: Iterable[Iterable[str]]) -> Key:
    pairs = [tuple(pair) for pair in labels]
    return name, tuple((pair[0], pair[1]) for pair in pairs)


def render(snapshot: Snapshot) -> bytes:
    """Prometheus's text format. A counter's name gets the ending _total, as Seldon's wrapper gives it."""
    lines: list[str] = []
    families: dict[str, tuple[str, list[str]]] = {}

    def family(name: str, kind: str) -> list[str]:
        return families.setdefault(name, (kind, []))[1]

    for name, labels, value in snapshot["counters"]:
        full = f"{name.removesuffix('_total')}_total"
        family(full, "counter").append(f"{full}{_labels(labels)} {_number(value)}")
    for name, labels, value, _ in snapshot["gauges"]:
        family(name, "gauge").append(f"{name}{_labels(labels)} {_number(value)}")
    for name, labels, bounds, counts, total in snapshot["histograms"]:
        samples, running = family(name, "histogram"), 0
        for bound, count in zip([*map(_number, bounds), "+Inf"], counts, strict=True):
            running += count
            samples.append(f"{name}_bucket{_labels([*labels, ('le', bound)])} {running}")
        samples.append(f"{name}_count{_labels(labels)} {running}")
        samples.append(f"{name}_sum{_labels(labels)} {_number(total)}")
    for name, (kind, samples) in families.items():
        lines += [f"# TYPE {name} {kind}", *samples]
    return ("\n".join(lines) + "\n").encode()


def _labels(labels: Iterable[tuple[str, str]]) -> str:
    def escaped(value: str) -> str:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")

    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in labels) + "}"


def _number(value: float) -> str:
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if value != value else repr(float(value))
