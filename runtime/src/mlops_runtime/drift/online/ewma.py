# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""`ewma`: has the distribution of a feature changed, and of which one?

Each value counts by its bin's scores (scores.py); a feature's statistic is the squared length of their moving
average, as in QT-EWMA (Frittoli, Carrera, Boracchi 2022). One more statistic, without a feature's name, adds up what
several features show a little of. All share one false-alarm budget. A missing value counts as an expected one: a
feature that goes missing goes calm, and is the data quality's business.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from mlops_runtime.drift.online import calibration
from mlops_runtime.drift.online.average import Sums, ordered_sum
from mlops_runtime.drift.online.binning import COLUMNS, Binning, shares
from mlops_runtime.drift.online.detector import OnlineDetector
from mlops_runtime.drift.online.scores import LEAST_THRESHOLD, feature_scores
from mlops_runtime.drift.protocol import Arrays, Feature, FloatArray, Parameters, Reference, UnfitReference

FREE = 2.0
"""What a feature has above so many times its usual value goes into the statistic of all of them."""

LEAST_TOTAL = 0.5
"""Thresholds of single features; what the statistic of all of them has to reach at least."""


class Ewma(OnlineDetector):
    """Parameters: `expected_run_time`, rows from the start to a false alarm, on average; `memory`, rows, 0 for what
    the reference allows, up to 50: the moving average's longer memory (the shorter is two fifths of it)."""

    kind: ClassVar[str] = "ewma"
    defaults: ClassVar[dict[str, int | float]] = {"expected_run_time": 10_000, "memory": 0}

    def __init__(self, fitted: Arrays, parameters: Parameters, features: tuple[Feature, ...]) -> None:
        # Features with more scores come first inside, so that the m-th scores of all that have one are a slice.
        counts = np.asarray(fitted["counts"], np.intp)
        self._order = np.argsort(-counts, kind="stable")
        self._having = [int((counts > degree).sum()) for degree in range(int(counts.max(initial=0)))]
        self._offsets = np.arange(len(counts), dtype=np.intp)[:, None] * COLUMNS
        self._table = np.asarray(fitted["scores"], np.float64)
        self._units: Sums = np.asarray(fitted["units"], np.float64)[self._order, :, None]
        self._free: Sums = np.asarray(fitted["free"], np.float64)[self._order, :, None]
        self._total_units: Sums = np.asarray(fitted["total_units"], np.float64)[:, None]
        super().__init__(fitted, parameters, features)
        self._binning = Binning.load(fitted).take(self._order)

    @classmethod
    def fit(cls, reference: Reference, parameters: Parameters) -> Self:
        """Takes a few seconds."""
        checked = cls.check(parameters)
        cls.check_reference(reference)
        run_time, count, width = int(checked["expected_run_time"]), *reference.rows.shape
        memories = calibration.memories(count, run_time, width, float(checked["memory"]))
        random = np.random.default_rng(reference.seed)

        binning = Binning.fit(reference.rows, reference.features)
        bins = binning.bins(np.ascontiguousarray(reference.rows.T))
        tables = [
            feature_scores(shares(row), feature.is_categorical)
            for row, feature in zip(bins, reference.features, strict=True)
        ]
        fitted: Arrays = {
            **binning.fitted(),
            "decays": np.array([1 - 1 / memory for memory in memories]),
            "counts": np.array([len(table) for table in tables], dtype=np.int32),
            "scores": _by_degree(tables),
            "units": np.ones((width, len(memories))),
            "free": np.zeros((width, len(memories))),
            "total_units": np.ones(len(memories)),
            "calibration": np.zeros(len(cls.CALIBRATION)),
        }
        if not any(map(len, tables)):
            raise UnfitReference("No feature of the reference has a value.")
        chart = cls(fitted, parameters, reference.features)
        scores = np.ascontiguousarray(chart.scores(reference.rows).T, dtype=np.float32)
        if not scores.any():
            raise UnfitReference("No feature of the reference varies: there is nothing to compare with.")
        chart._share_out(calibration.settled(chart, scores, chart._decays, random), run_time)
        simulated = calibration.simulate(chart, scores, chart._decays, run_time, random)
        threshold, extrapolated = simulated.threshold(run_time)
        inverse = np.argsort(chart._order)
        fitted["units"] = chart._units[inverse, :, 0].astype(np.float64) / threshold
        fitted["free"] = chart._free[inverse, :, 0].astype(np.float64) / threshold
        fitted["total_units"] = chart._total_units[:, 0].astype(np.float64)
        fitted["calibration"] = np.array(
            [count, simulated.rows, *simulated.run_time(threshold), extrapolated], np.float64
        )
        return cls(fitted, parameters, reference.features)

    def _share_out(self, raw: Sums, run_time: int) -> None:
        """Units in which each statistic is exceeded as often as the other ones; half of the alarms to the one of all
        features.

        `raw`: (d, s, samples), without drift. In single precision: they are for the simulation.
        """
        width, memories, _ = raw.shape
        share = 1 / (run_time * 2 * memories)
        quantiles = calibration.tail_quantile(raw, share / width)
        np.maximum(quantiles, LEAST_THRESHOLD, out=quantiles)
        self._units = (1 / quantiles)[:, :, None].astype(np.float32)
        self._free = (FREE * raw.mean(axis=2) / quantiles)[:, :, None].astype(np.float32)
        spread = np.maximum(raw * self._units - self._free, 0).sum(axis=0)
        totals = np.maximum(calibration.tail_quantile(spread, share), LEAST_TOTAL)
        self._total_units = (1 / totals)[:, None].astype(np.float32)

    def _components(self) -> int:
        return sum(self._having)

    def _names(self) -> tuple[str, ...]:
        return (*(self._features[number].name for number in self._order), "")

    def scores(self, rows: FloatArray) -> FloatArray:
        places = self._binning.bins(np.take(rows.T, self._order, axis=0))
        places += self._offsets
        scores = np.empty((self._components(), len(rows)))
        begin = 0
        for degree, having in enumerate(self._having):
            np.take(self._table[degree], places[:having], out=scores[begin : begin + having], mode="clip")
            begin += having
        return scores

    def raw(self, sums: Sums) -> Sums:
        squares = np.square(sums)
        raw = squares[: len(self._order)]
        if self._having[0] < len(self._order):
            raw = np.zeros((len(self._order), *sums.shape[1:]), sums.dtype)
            raw[: self._having[0]] = squares[: self._having[0]]
        begin = self._having[0]
        for having in self._having[1:]:
            raw[:having] += squares[begin : begin + having]
            begin += having
        return raw

    def ratios(self, raw: Sums) -> Sums:
        each = raw * self._units
        ratios = np.empty((len(each) + 1, each.shape[2]), each.dtype)
        np.maximum(each[:, 0], each[:, 1], out=ratios[:-1])
        each -= self._free
        np.maximum(each, 0.0, out=each)
        total = ordered_sum(each) * self._total_units
        np.maximum(total[0], total[1], out=ratios[-1])
        return ratios


def _by_degree(tables: list[FloatArray]) -> FloatArray:
    """Scores of the features in the inner order (more scores first), by degree: (degrees, d * COLUMNS), 0 where a
    feature has none."""
    ordered = sorted(tables, key=len, reverse=True)
    scores = np.zeros((max(map(len, tables)), len(tables), COLUMNS))
    for place, table in enumerate(ordered):
        scores[: len(table), place] = table
    return scores.reshape(len(scores), len(tables) * COLUMNS)
