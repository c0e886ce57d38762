# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The population stability index of each feature, its bins made at training.

PSI = sum over bins of (a - e) ln(a / e), where e is the share of the reference in a bin and a the window's. The custom
of calling 0.25 a major change (Siddiqi 2006) knows nothing of the window's size: give `p_value` or
`expected_run_time`, and the threshold comes from what chance alone makes of windows of this size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mlops_runtime.drift.offline.categories import cell_counts, cells
from mlops_runtime.drift.offline.detector import WindowDetector
from mlops_runtime.drift.offline.parameters import Options, Schedule, significance
from mlops_runtime.drift.protocol import Arrays, FloatArray, Reference, UnfitReference

SIMULATIONS: Final = 100_000
"""Windows simulated at most for a threshold."""
EXCEEDING: Final = 20
"""Simulated windows that have to lie above a threshold for it to be one: its level is then right within a quarter."""


class PopulationStability(WindowDetector):
    """The statistic is the feature's PSI."""

    kind = "psi"
    defaults = {"bins": 10, "threshold": 0.25}

    @classmethod
    def _significance(cls, options: Options, schedule: Schedule) -> float | None:
        return significance(options, schedule)

    @classmethod
    def _fit(cls, reference: Reference, options: Options) -> Arrays:
        bins = options.integer("bins", minimum=2)
        edges = np.full((len(reference.features), bins - 1), np.inf)
        counts: list[NDArray[np.int64]] = []
        for at, feature in enumerate(reference.features):
            values = present(reference.rows[:, at])
            if len(values) < bins:
                raise UnfitReference(f"psi: {feature.name} has {len(values)} values for {bins} bins")
            if feature.is_categorical:
                counts.append(cell_counts(values, cells(feature)))
                continue
            # A value that is often there is an edge once; the bins that this leaves out stay empty.
            found = np.unique(np.quantile(values, np.arange(1, bins) / bins))
            edges[at, : len(found)] = found
            counts.append(binned(values, edges[at]))
        fitted: Arrays = {
            "edges": edges,
            "counts": np.concatenate(counts),
            "sizes": np.array([len(count) for count in counts], dtype=np.int64),
        }
        fitted["thresholds"] = cls._calibrate(counts, reference, options)
        return fitted

    @classmethod
    def _calibrate(cls, counts: list[NDArray[np.int64]], reference: Reference, options: Options) -> FloatArray:
        schedule = Schedule.read(options)
        alpha = significance(options, schedule)
        if alpha is None:
            return np.full(len(counts), options.number("threshold", minimum=1e-6))
        each = alpha / len(counts)
        needed = int(np.ceil(EXCEEDING / each))
        if needed > SIMULATIONS:
            raise UnfitReference(
                f"psi: {len(counts)} features at p {alpha:g} need {needed} simulated windows; {SIMULATIONS} is the "
                "most. Ask for a shorter expected_run_time, or use `tabular`"
            )
        rng = np.random.default_rng(reference.seed)
        rows = schedule.window
        return np.array(
            [
                np.quantile(simulated(count, max(2, int(rows * ratio)), needed, rng), 1 - each, method="higher")
                for count, ratio in zip(counts, np.isfinite(reference.rows).mean(axis=0), strict=True)
            ]
        )

    def _prepare(self) -> None:
        self._edges = self._fitted["edges"].astype(np.float64)
        sizes = self._fitted["sizes"].astype(np.int64)
        if len(sizes) != len(self._features):
            raise ValueError("psi: the arrays are of other features")
        self._counts = np.split(self._fitted["counts"].astype(np.int64), np.cumsum(sizes)[:-1])

    def _names(self) -> Sequence[str]:
        return [feature.name for feature in self._features]

    def _thresholds(self) -> FloatArray:
        return self._fitted["thresholds"].astype(np.float64)

    def _statistics(self, rows: FloatArray) -> FloatArray:
        found = np.zeros(len(self._features))
        for at, feature in enumerate(self._features):
            values = present(rows[:, at])
            if len(values) == 0:
                continue
            seen = cell_counts(values, cells(feature)) if feature.is_categorical else binned(values, self._edges[at])
            found[at] = stability(self._counts[at], seen[None, :])[0]
        return found


def present(column: FloatArray) -> FloatArray:
    values: FloatArray = column[np.isfinite(column)]
    return values


def binned(values: FloatArray, edges: FloatArray) -> NDArray[np.int64]:
    places = np.searchsorted(edges, values, side="left")
    return np.bincount(places, minlength=len(edges) + 1).astype(np.int64)


def stability(reference: NDArray[np.int64], seen: NDArray[np.int64]) -> FloatArray:
    """PSI of windows' counts, shape (windows, bins), against the reference's, shape (bins,).

    Half a row is added to each bin that either can fill, so that an empty one has a logarithm.
    """
    used = (reference > 0) | (seen > 0).any(axis=0)
    expected = reference[used] + 0.5
    actual = seen[:, used] + 0.5
    expected = expected / expected.sum()
    actual = actual / actual.sum(axis=1, keepdims=True)
    found: FloatArray = ((actual - expected) * np.log(actual / expected)).sum(axis=1)
    return found


def simulated(reference: NDArray[np.int64], rows: int, windows: int, rng: np.random.Generator) -> FloatArray:
    """PSI of windows without drift. The reference is itself a sample, so each window has shares of its own:

    the mass between quantiles of a sample is Dirichlet distributed (Wilks 1962, 8.7), whatever the feature is.
    """
    used = reference[reference > 0]
    if len(used) < 2:
        return np.full(windows, 1e-6)
    shares = rng.dirichlet(used, size=windows)
    return stability(used, rng.multinomial(rows, shares))
