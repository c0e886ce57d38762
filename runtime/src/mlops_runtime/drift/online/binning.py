# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A value as the number of the reference's bin that it falls in: what frees a detector of the distribution.

Numbers go to bins of equal share of the reference (QT-EWMA, Frittoli et al. 2022), ties stay together; categories go to
groups. From here on a heavy tail is no heavier than another, and a value that is missing is a bin of its own.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from mlops_runtime.drift.protocol import Arrays, Feature, FloatArray

BINS = 16
MISSING = BINS
"""The bin of NaN."""
COLUMNS = BINS + 1
GROUPS = 8
"""Of categories; the last is for the rare ones and for those that the reference doesn't have."""
RARE = 0.02
"""A share below which a category is one of the rare ones."""

FEW = 16
"""Rows, for which fewer calls of numpy are worth more than less work."""

IntArray = NDArray[np.intp]


class Binning:
    """The bins of d features.

    `edges`: (d, BINS - 1); a bin is what is above its left edge, up to and with its right one; padded with infinity.
    `categories`: (d,), how many a categorical feature has, 0 for a number. `groups`: the group of each category and,
    after the last, of one that is unknown; the features' one after another.
    """

    def __init__(self, edges: FloatArray, categories: IntArray, groups: IntArray) -> None:
        self.edges, self.categories, self.groups = edges, categories, groups
        used = int(np.isfinite(edges).any(axis=0).sum())
        self._edges = edges[:, :used, None]
        self._columns = [np.ascontiguousarray(edges[:, edge])[:, None] for edge in range(used)]
        self._categorical = np.flatnonzero(categories)
        self._counts = categories[self._categorical][:, None]
        self._starts = np.cumsum(self._counts + 1)[:, None] - (self._counts + 1)

    @classmethod
    def fit(cls, rows: FloatArray, features: tuple[Feature, ...]) -> Self:
        """`rows`: (n, d), NaN where missing."""
        edges = np.full((len(features), BINS - 1), np.inf)
        groups = [np.zeros(0, np.intp)]
        for number, feature in enumerate(features):
            values = rows[:, number]
            values = values[~np.isnan(values)]
            if feature.categories is None:
                found = _edges(values)
                edges[number, : len(found)] = found
            else:
                groups.append(_groups(values, _count(feature)))
        categories = np.array([_count(feature) for feature in features], dtype=np.intp)
        return cls(edges, categories, np.concatenate(groups))

    @classmethod
    def load(cls, fitted: Arrays) -> Self:
        return cls(
            np.asarray(fitted["edges"], np.float64),
            np.asarray(fitted["categories"], np.intp),
            np.asarray(fitted["groups"], np.intp),
        )

    def fitted(self) -> Arrays:
        return {
            "edges": self.edges,
            "categories": self.categories.astype(np.int32),
            "groups": self.groups.astype(np.int32),
        }

    def take(self, order: IntArray) -> Binning:
        """The same for the features in another order."""
        ends = np.cumsum(np.where(self.categories > 0, self.categories + 1, 0))
        parts = np.split(self.groups, ends[:-1])
        groups = np.concatenate([parts[number] for number in order]) if len(order) else self.groups
        return Binning(self.edges[order], self.categories[order], groups)

    def bins(self, columns: FloatArray) -> IntArray:
        """The bin of each value; `columns`: (d, n), the result too."""
        if columns.shape[1] < FEW:
            bins: IntArray = (columns[:, None, :] > self._edges).sum(axis=1, dtype=np.intp)
        else:
            counts = np.zeros(columns.shape, np.uint8)
            above = np.empty(columns.shape, np.bool_)
            for edge in self._columns:
                np.greater(columns, edge, out=above)
                np.add(counts, above.view(np.uint8), out=counts)
            bins = counts.astype(np.intp)
        if len(self._categorical):
            codes = columns[self._categorical]
            known = (codes >= 0) & (codes < self._counts)
            places = np.where(known, codes, self._counts).astype(np.intp)
            bins[self._categorical] = self.groups.take(places + self._starts)
        np.copyto(bins, MISSING, where=np.isnan(columns))
        return bins


def shares(bins: IntArray) -> FloatArray:
    """Of each bin in one feature's present values; `bins`: (n,); the result: (BINS,), all 0 where every value is
    missing."""
    counts = np.bincount(bins, minlength=COLUMNS)[:BINS].astype(np.float64)
    share: FloatArray = counts / max(float(counts.sum()), 1.0)
    return share


def _count(feature: Feature) -> int:
    """Of its categories; a categorical feature without any has one that never comes."""
    return 0 if feature.categories is None else max(len(feature.categories), 1)


def _edges(values: FloatArray) -> FloatArray:
    """Of one numeric feature; its values (n,) without NaN."""
    distinct = np.unique(values[np.isfinite(values)])
    if len(distinct) == 0:
        return distinct
    if len(distinct) == 1:
        # A constant has a bin, and so have what is below it and what is above.
        return np.array([np.nextafter(distinct[0], -np.inf), distinct[0]])
    if len(distinct) <= BINS:
        return distinct[:-1]
    inner = np.quantile(values, np.arange(1, BINS) / BINS, method="inverted_cdf")
    # A value that many rows share has a bin to itself: an edge below it, too.
    heavy, counts = np.unique(inner, return_counts=True)
    below = np.searchsorted(distinct, heavy[counts > 1]) - 1
    edges: FloatArray = np.unique(np.concatenate([inner, distinct[below[below >= 0]]]))
    edges = edges[np.isfinite(edges) & (edges < distinct[-1])]
    if len(edges) >= BINS:
        edges = edges[np.linspace(0, len(edges) - 1, BINS - 1).round().astype(np.intp)]
    return edges


def _groups(values: FloatArray, categories: int) -> IntArray:
    """Of one categorical feature: the group of each category, and of an unknown one. A frequent category has one to
    itself as long as there are groups; with more of them, each goes where least is so far."""
    codes = values[(values >= 0) & (values < categories)].astype(np.intp)
    share = np.bincount(codes, minlength=categories)[:categories] / max(len(values), 1)
    groups = np.full(categories + 1, GROUPS - 1, dtype=np.intp)
    loads = np.zeros(GROUPS - 1)
    for category in np.argsort(-share, kind="stable"):
        if share[category] < RARE:
            break
        groups[category] = int(np.argmin(loads))
        loads[groups[category]] += share[category]
    return groups
