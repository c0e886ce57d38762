# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a model's probabilities are worth: a monotone map for each class, from labelled rows of no training."""

from __future__ import annotations

from typing import Final, Self

import numpy as np

from mlops_runtime.drift.protocol import FloatArray

POINTS: Final = 100
"""Of a map at most: rows are put into so many groups of equal size first, so that it can't follow single ones."""


class CalibrationMap:
    """`scores` and `shares`, shape (classes, points): between the points of a class the map is a straight line."""

    def __init__(self, scores: FloatArray, shares: FloatArray) -> None:
        if scores.shape != shares.shape or scores.ndim != 2:
            raise ValueError(f"a calibration map of {list(scores.shape)} scores and {list(shares.shape)} shares")
        self.scores = scores
        self.shares = shares

    @classmethod
    def fit(cls, probabilities: FloatArray, labels: FloatArray) -> Self:
        """From probabilities, shape (n, classes), and places of classes, shape (n,)."""
        classes = probabilities.shape[1]
        points = min(POINTS, max(2, len(labels) // 20))
        maps = [isotonic(probabilities[:, at], labels == at, points) for at in range(classes)]
        return cls(np.array([scores for scores, _ in maps]), np.array([shares for _, shares in maps]))

    def __call__(self, probabilities: FloatArray) -> FloatArray:
        """The chance of each class, shape (n, classes); rows sum to 1."""
        found = np.column_stack(
            [
                np.interp(probabilities[:, at], scores, shares)
                for at, (scores, shares) in enumerate(zip(self.scores, self.shares, strict=True))
            ]
        )
        total = found.sum(axis=1, keepdims=True)
        return np.where(total > 0, found / np.where(total > 0, total, 1.0), 1.0 / found.shape[1])


def isotonic(
    scores: FloatArray, hits: np.ndarray[tuple[int], np.dtype[np.bool_]], points: int
) -> tuple[FloatArray, FloatArray]:
    """Mean score and share of hits of groups of rows with like scores, the shares made to never fall.

    By pooling adjacent violators (Barlow et al. 1972). Always `points` long: the last is repeated.
    """
    order = np.argsort(scores, kind="stable")
    groups = np.array_split(order, points)
    means = [float(scores[group].mean()) for group in groups if len(group)]
    # Each block: share of hits, weight, and over how many groups it reaches.
    blocks: list[tuple[float, float, int]] = []
    for group in groups:
        if not len(group):
            continue
        share, weight, reach = float(hits[group].mean()), float(len(group)), 1
        while blocks and blocks[-1][0] >= share:
            before, mass, length = blocks.pop()
            share = (before * mass + share * weight) / (mass + weight)
            weight, reach = weight + mass, reach + length
        blocks.append((share, weight, reach))
    shares = [share for share, _, reach in blocks for _ in range(reach)]
    padding = points - len(means)
    return np.array(means + means[-1:] * padding), np.array(shares + shares[-1:] * padding)
