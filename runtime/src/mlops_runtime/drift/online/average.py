# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Exponentially weighted sums of many rows at once, with the bits of one row after the other.

S(t) = r S(t-1) + f(t) is, within a block of rows, r^k times the running sum of f(k) r^-k. The running sum is numpy's
`accumulate`, which adds in order; blocks begin at multiples of BLOCK rows, counted since the detector began. So
however the rows are cut into calls, each sum is made of the same operations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_runtime.drift.protocol import FloatArray

Sums = NDArray[np.floating[Any]]
"""Double precision in service, single in a simulation."""

BLOCK = 128
FEW = 16
"""Rows, for which `accumulate` takes longer than one addition after the other."""


class WeightedSums:
    """The sums of c scores with s memories. `decays`: their r, each in (0, 1)."""

    def __init__(self, components: int, decays: list[float]) -> None:
        powers = np.cumprod(
            np.concatenate([np.ones((len(decays), 1)), np.tile(np.array(decays)[:, None], BLOCK)], 1), axis=1
        )
        self._powers = np.ascontiguousarray(powers[:, 1:])
        self._weights = 1.0 / self._powers
        self.squared_powers = self._powers * self._powers
        self.carried = np.zeros((components, len(decays)))
        """The running sums so far in this block."""

    def advance(self, scores: FloatArray, begin: int) -> FloatArray:
        """The sums S after each of the rows, over r^k: multiply a square of one by `squared_powers[:, begin:begin +
        n]`.

        `scores`: (c, n), of rows of one block; `begin`: the first one's place in its block. The result: (c, s, n).
        """
        count = scores.shape[1]
        running = np.empty((*self.carried.shape, count + 1))
        running[:, :, 0] = self.carried
        np.multiply(scores[:, None, :], self._weights[:, begin : begin + count], out=running[:, :, 1:])
        if count < FEW:
            for place in range(count):
                np.add(running[:, :, place], running[:, :, place + 1], out=running[:, :, place + 1])
        else:
            np.add.accumulate(running, axis=2, out=running)
        self.carried = running[:, :, -1].copy()
        if begin + count == BLOCK:
            self.carried *= self._powers[:, -1]
        return running[:, :, 1:]


def ordered_sum(values: Sums) -> Sums:
    """Over axis 0, in an order that doesn't depend on the other axes' lengths, as that of numpy's own sum does."""
    while len(values) > 1:
        half = len(values) // 2
        folded = values[:half] + values[half : 2 * half]
        if len(values) % 2:
            folded[0] += values[-1]
        values = folded
    total: Sums = values[0]
    return total
