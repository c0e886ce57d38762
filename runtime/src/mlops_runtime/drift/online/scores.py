# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What each bin counts for: scores that average 0 over the reference, and by which a change shows.

For a number they are orthogonal polynomials of its normal score (a smooth test, Neyman 1937: place, spread, skew,
tails) with Anderson and Darling's weights 2 / (m (m + 1)), so that most of the power goes to what changes most often.
For categories they are the terms of Pearson's statistic.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from mlops_runtime.drift.online.binning import BINS, COLUMNS, GROUPS, RARE
from mlops_runtime.drift.protocol import FloatArray

DEGREES = 4
LOUDEST = RARE**-0.5
"""What a row counts for at most, nearly: a bin that is rarer than RARE counts as if it had that share."""
LEAST_THRESHOLD = 4 / RARE
"""A feature's statistic after two rows of the rarest kind, one after the other: no alarm yet, whatever the reference
says."""


def normal_scores(shares: FloatArray) -> FloatArray:
    """The normal quantile of each bin's middle rank; `shares` and the result: (BINS,)."""
    middles = np.cumsum(shares) - shares / 2
    normal = NormalDist()
    return np.array([normal.inv_cdf(min(max(float(middle), 1e-6), 1 - 1e-6)) for middle in middles])


def feature_scores(shares: FloatArray, is_categorical: bool) -> FloatArray:
    """The squares of their averages add up to the feature's statistic; `shares`: (BINS,); the result: (m, COLUMNS), 0
    for missing.

    Nothing (m = 0) where the reference has no value of the feature.
    """
    if not shares.any():
        return np.zeros((0, COLUMNS))
    if is_categorical:
        return _pearson(shares, GROUPS)
    if (shares > 0).sum() == 1:
        return _pearson(shares, 3)
    return _polynomials(shares)


def _polynomials(shares: FloatArray) -> FloatArray:
    used = np.flatnonzero(shares)
    degrees = min(DEGREES, len(used) - 1)
    root = np.sqrt(shares[used])[:, None]
    powers = np.vander(normal_scores(shares)[used], degrees + 1, increasing=True)
    orthogonal, _ = np.linalg.qr(powers * root)
    scores = np.zeros((degrees, COLUMNS))
    scores[:, used] = (orthogonal[:, 1:] / root).T
    # A bin without a share (it can't be told from its neighbour by the reference) counts as the nearest one that has
    # some.
    nearest = used[np.abs(np.arange(BINS)[:, None] - used).argmin(axis=1)]
    scores[:, :BINS] = scores[:, nearest]
    np.clip(scores, -LOUDEST, LOUDEST, out=scores)
    scores[:, :BINS] -= (scores[:, :BINS] @ shares)[:, None]
    order = np.arange(1, degrees + 1)
    weighted: FloatArray = scores * np.sqrt(2 / (order * (order + 1)))[:, None]
    return weighted


def _pearson(shares: FloatArray, groups: int) -> FloatArray:
    """A group that is rarer than RARE, or that the reference lacks, counts as if it had that share: one row can't be
    an alarm."""
    scores = np.zeros((groups, COLUMNS))
    scores[:, :BINS] = np.eye(groups, BINS) - shares[:groups, None]
    scores /= np.sqrt(np.maximum(shares[:groups], RARE))[:, None]
    scores[:, BINS:] = 0.0
    return scores
