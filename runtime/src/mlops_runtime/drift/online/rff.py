# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""`rff`: has anything changed in how the features are distributed together, even if each for itself looks the same?

The moving average of random Fourier features against the reference's average, as NEWMA does it (Keriven, Garreau,
Poli 2020) with a reference in place of a second average. Features are taken by their bins (waves.py), so scale and
heavy tails don't matter. A missing value counts as the reference's average, in each pair that it is in. Changes that
show in three features together and in no two of them are not seen.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from mlops_runtime.drift.online import calibration
from mlops_runtime.drift.online.average import Sums, ordered_sum
from mlops_runtime.drift.online.binning import COLUMNS, MISSING, Binning, IntArray, shares
from mlops_runtime.drift.online.detector import OnlineDetector
from mlops_runtime.drift.online.waves import LEAST_SPREAD, WAVES, choose, feature_waves
from mlops_runtime.drift.protocol import Arrays, Feature, FloatArray, Parameters, Reference, UnfitReference

CHANNELS = 3
"""Statistics that are the largest one's candidates: of all waves alone, of all pairs, of the pair that stands out
most."""


class Rff(OnlineDetector):
    """Parameters: `expected_run_time` and `memory` as of `ewma`; `components`, how many random features."""

    kind: ClassVar[str] = "rff"
    defaults: ClassVar[dict[str, int | float]] = {"expected_run_time": 10_000, "memory": 0, "components": 512}

    def __init__(self, fitted: Arrays, parameters: Parameters, features: tuple[Feature, ...]) -> None:
        self._table = np.array(fitted["waves"], np.float64).reshape(-1, len(features) * COLUMNS)
        # Marks what is missing until a pair's score is made of it; no sum ever sees it.
        self._table[:, MISSING::COLUMNS] = np.nan
        self._offsets = np.arange(len(features), dtype=np.intp)[:, None] * COLUMNS
        self._singles = _rows_of_waves(np.asarray(fitted["singles"], np.intp), len(features))
        self._firsts, self._seconds = (
            _rows_of_waves(side, len(features)) for side in np.asarray(fitted["pairs"], np.intp)
        )
        self._means = np.asarray(fitted["means"], np.float64)[:, None]
        self._scales = np.asarray(fitted["scales"], np.float64)[:, None]
        self._units: Sums = np.asarray(fitted["units"], np.float64)[:, :, None]
        super().__init__(fitted, parameters, features)
        self._binning = Binning.load(fitted)

    @classmethod
    def check(cls, parameters: Parameters) -> dict[str, int | float]:
        checked = super().check(parameters)
        if not 16 <= checked["components"] <= 4096:
            raise ValueError(f"rff: components must be from 16 to 4096, not {checked['components']}")
        return checked

    @classmethod
    def fit(cls, reference: Reference, parameters: Parameters) -> Self:
        """Takes a few seconds."""
        checked = cls.check(parameters)
        cls.check_reference(reference)
        run_time, count = int(checked["expected_run_time"]), len(reference.rows)
        memories = calibration.memories(count, run_time, CHANNELS, float(checked["memory"]))
        random = np.random.default_rng(reference.seed)

        binning = Binning.fit(reference.rows, reference.features)
        bins = binning.bins(np.ascontiguousarray(reference.rows.T))
        waves = np.array(
            [
                feature_waves(shares(row), feature.is_categorical, random)
                for row, feature in zip(bins, reference.features, strict=True)
            ]
        )
        singles, pairs = choose(waves, int(checked["components"]), random)
        if not len(singles):
            raise UnfitReference("No feature of the reference varies: there is nothing to compare with.")
        fitted: Arrays = {
            **binning.fitted(),
            "decays": np.array([1 - 1 / memory for memory in memories]),
            "waves": np.ascontiguousarray(waves.transpose(1, 0, 2)),
            "singles": singles.astype(np.int32),
            "pairs": pairs.astype(np.int32),
            "means": np.zeros(pairs.shape[1]),
            "scales": np.ones(pairs.shape[1]),
            "units": np.ones((CHANNELS, len(memories))),
            "calibration": np.zeros(len(cls.CALIBRATION)),
        }
        products = cls(fitted, parameters, reference.features)._products(reference.rows)[len(singles) :]
        fitted["means"], fitted["scales"] = _standard(products)
        chart = cls(fitted, parameters, reference.features)
        scores = np.ascontiguousarray(chart.scores(reference.rows).T, dtype=np.float32)
        raw = calibration.settled(chart, scores, chart._decays, random)
        narrowed = _narrowed(chart, scores, raw)
        raw = narrowed.means + (raw - narrowed.means) * narrowed.spreads
        quantiles = calibration.tail_quantile(raw, 1 / (run_time * raw.shape[0] * raw.shape[1]))
        chart._units = (1 / np.where(quantiles > 0, quantiles, np.inf))[:, :, None].astype(np.float32)
        simulated = calibration.simulate(narrowed, scores, chart._decays, run_time, random)
        threshold, extrapolated = simulated.threshold(run_time)
        fitted["units"] = chart._units[:, :, 0].astype(np.float64) / threshold
        fitted["calibration"] = np.array(
            [count, simulated.rows, *simulated.run_time(threshold), extrapolated], np.float64
        )
        return cls(fitted, parameters, reference.features)

    def _components(self) -> int:
        return len(self._singles) + len(self._firsts)

    def _names(self) -> tuple[str, ...]:
        return ("",)

    def scores(self, rows: FloatArray) -> FloatArray:
        scores = self._products(rows)
        pairs = scores[len(self._singles) :]
        pairs -= self._means
        pairs *= self._scales
        np.copyto(scores, 0.0, where=np.isnan(scores))
        return scores

    def _products(self, rows: FloatArray) -> FloatArray:
        """The waves alone and the pairs' products, (components, n); NaN where a value is missing."""
        places = self._binning.bins(np.ascontiguousarray(rows.T))
        places += self._offsets
        waves = np.empty((WAVES * len(places), len(rows)))
        for number, table in enumerate(self._table):
            np.take(table, places, out=waves[number * len(places) : (number + 1) * len(places)], mode="clip")
        scores = np.empty((self._components(), len(rows)))
        alone = len(self._singles)
        np.take(waves, self._singles, axis=0, out=scores[:alone], mode="clip")
        pairs = scores[alone:]
        np.take(waves, self._firsts, axis=0, out=pairs, mode="clip")
        pairs *= waves.take(self._seconds, axis=0)
        return scores

    def raw(self, sums: Sums) -> Sums:
        squares = np.square(sums)
        alone = len(self._singles)
        raw = np.zeros((CHANNELS, *sums.shape[1:]), sums.dtype)
        raw[0] = ordered_sum(squares[:alone])
        if len(squares) > alone:
            raw[1] = ordered_sum(squares[alone:])
            raw[2] = squares[alone:].max(axis=0)
        return raw

    def ratios(self, raw: Sums) -> Sums:
        largest = (raw * self._units).max(axis=(0, 1))
        ratios: Sums = largest[None, :]
        return ratios


def _standard(products: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and one over spread of each pair's product, over the rows that have both values; (p, n), NaN where
    missing."""
    present = ~np.isnan(products)
    together = np.maximum(present.sum(axis=1), 1)
    means = np.sum(products, axis=1, where=present) / together
    squares = np.sum(np.square(products), axis=1, where=present) / together
    return means, 1 / np.sqrt(np.maximum(squares - means**2, LEAST_SPREAD**2))


def _narrowed(chart: Rff, scores: calibration.SingleArray, raw: Sums) -> calibration.Narrowed:
    """The two channels that are sums of many squares, without what a finite reference adds to their spread."""
    alone = len(chart._singles)
    spreads = [calibration.true_spread(scores[:, :alone]), calibration.true_spread(scores[:, alone:]), 1.0]
    means = raw.mean(axis=2, keepdims=True).astype(np.float32)
    return calibration.Narrowed(chart, np.array(spreads, np.float32)[:, None, None], means)


def _rows_of_waves(numbers: IntArray, features: int) -> IntArray:
    """Where wave w of feature f is when the features' first waves come first: f * WAVES + w to w * d + f."""
    return (numbers % WAVES) * features + numbers // WAVES
