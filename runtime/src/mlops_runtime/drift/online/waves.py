# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Random Fourier features of one feature and of two at a time, as tables over bins.

A kernel's mean is the mean of random Fourier features (Rahimi and Recht 2007). Waves over all d features at once see
next to nothing of a change between two of them when d is large; products of two waves, one for each of two features,
are the features of a product kernel on each pair, and see that. On normal scores, sine with sine sees correlation,
cosine with cosine spreads that go together.
"""

from __future__ import annotations

import numpy as np

from mlops_runtime.drift.online.binning import BINS, COLUMNS, IntArray
from mlops_runtime.drift.online.scores import normal_scores
from mlops_runtime.drift.protocol import FloatArray

WAVES = 3
"""Of a feature: a slow sine, a cosine, a faster sine."""
LEAST_SPREAD = 0.5
"""Under which a wave isn't scaled up to 1 any more: what hardly ever happens must not shout when it does."""


def feature_waves(shares: FloatArray, is_categorical: bool, random: np.random.Generator) -> FloatArray:
    """Their value in each bin, average 0 and spread 1 over the reference, 0 for missing; `shares`: (BINS,); the
    result: (WAVES, COLUMNS).

    Of categories, which have no order, the waves are random signs.
    """
    waves = np.zeros((WAVES, COLUMNS))
    if is_categorical:
        waves[:, :BINS] = random.choice([-1.0, 1.0], size=(WAVES, BINS))
    else:
        scores = normal_scores(shares)
        slow, even, fast = random.uniform([0.5, 0.8, 1.2], [0.9, 1.6, 2.0])
        waves[:, :BINS] = np.sin(slow * scores), np.cos(even * scores), np.sin(fast * scores)
    waves[:, :BINS] -= (waves[:, :BINS] @ shares)[:, None]
    spread = np.sqrt(np.square(waves[:, :BINS]) @ shares)
    waves[:, :BINS] /= np.maximum(spread, LEAST_SPREAD)[:, None]
    waves[spread < 1e-9] = 0.0
    return waves


def choose(waves: FloatArray, components: int, random: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Which waves to look at alone, (m,), and which two by two, (2, p); m + p is at most `components`.

    `waves`: (d, WAVES, COLUMNS). Half may be alone. Of pairs of features, three quarters go to the slow sines of as
    many pairs as there are, the rest to whatever waves.
    """
    varying = np.flatnonzero(waves.any(axis=2).reshape(-1))
    # The first waves of all features come before the second ones.
    varying = varying[np.argsort(varying % WAVES, kind="stable")]
    slow = varying[varying % WAVES == 0]
    if len(varying) > components // 2:
        firsts = random.permutation(slow)
        varying = np.concatenate([firsts, varying[len(slow) :]])[: components // 2]
    budget = components - len(varying)
    chosen: dict[tuple[int, int], None] = {}
    first, second = np.triu_indices(len(slow), 1)
    if len(first):
        take = random.permutation(len(first))[: budget * 3 // 4]
        chosen.update(dict.fromkeys(zip(slow[first[take]].tolist(), slow[second[take]].tolist(), strict=True)))
        everything = np.flatnonzero(waves.any(axis=2).reshape(-1))
        for one, other in random.choice(everything, size=(4 * budget, 2)).tolist():
            if len(chosen) < budget and one // WAVES != other // WAVES:
                chosen[min(one, other), max(one, other)] = None
    pairs = np.array(list(chosen), dtype=np.intp).reshape(-1, 2).T
    return varying, pairs
