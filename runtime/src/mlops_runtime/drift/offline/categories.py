# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Counts of categories at training, and the chi-squared test of a window's counts against them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mlops_runtime.drift.protocol import Arrays, Feature, FloatArray

EXPECTED: Final = 5.0
"""In a cell. Cells that expect fewer are put together, or chi-squared isn't what its table says (Cochran 1954)."""


class CategoryCounts:
    """For each categorical feature, how often each category was seen; the last cell is for those that weren't known."""

    def __init__(self, fitted: Arrays, features: Sequence[Feature], window: int) -> None:
        flat = fitted["category_counts"].astype(np.int64)
        ends = np.cumsum([cells(feature) for feature in features], dtype=np.int64)
        if len(flat) != (ends[-1] if len(ends) else 0):
            raise ValueError("the counts of categories are of other features")
        self._reference = np.split(flat, ends[:-1]) if len(ends) else []
        self._rare = [counts * (window / max(1, counts.sum())) < EXPECTED for counts in self._reference]

    @staticmethod
    def count(rows: FloatArray, features: Sequence[Feature]) -> Arrays:
        """From rows, shape (n, len(features)), NaN where missing."""
        counts = [
            cell_counts(column[np.isfinite(column)], cells(feature))
            for column, feature in zip(rows.T, features, strict=True)
        ]
        return {"category_counts": np.concatenate(counts) if counts else np.zeros(0, dtype=np.int64)}

    def p_value(self, place: int, values: FloatArray) -> float:
        """Of the values of the feature at `place`, none of them missing."""
        from scipy.stats import chi2_contingency  # here: a second of start-up that only who tests should pay

        reference, rare = self._reference[place], self._rare[place]
        seen = cell_counts(values, len(reference))
        table = np.array([pooled(reference, rare), pooled(seen, rare)])
        table = table[:, table.sum(axis=0) > 0]
        if table.shape[1] < 2:
            return 1.0
        return float(chi2_contingency(table, correction=False).pvalue)


def cells(feature: Feature) -> int:
    return len(feature.categories or ()) + 1


def cell_counts(values: FloatArray, size: int) -> NDArray[np.int64]:
    places = np.where((values >= 0) & (values < size - 1), values, size - 1).astype(np.int64)
    return np.bincount(places, minlength=size).astype(np.int64)


def pooled(counts: NDArray[np.int64], rare: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.append(counts[~rare], counts[rare].sum())
