# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""When a statistic that is above its threshold is an alarm, and when it is calm again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlops_runtime.drift.online.average import Sums
from mlops_runtime.drift.protocol import Alarm

NEVER = -(1 << 62)

LongArray = NDArray[np.int64]


class Episodes:
    """Of several statistics, each in units of its threshold.

    An episode begins with an alarm, when a statistic crosses its threshold from below, and lasts until it has been
    below for `calm` rows; a crossing within an episode is no alarm again.
    """

    def __init__(self, names: tuple[str, ...], calm: int) -> None:
        self._names = names
        self._calm = calm
        self.last_above: LongArray = np.full(len(names), NEVER, dtype=np.int64)
        """The row at which each was last above, from 1."""
        self.events: LongArray = np.zeros(len(names), dtype=np.int64)

    def advance(self, ratios: Sums, rows_before: int) -> list[Alarm]:
        """`ratios`: (statistics, n), after each row; `rows_before`: how many rows came before these."""
        above = ratios > 1.0
        if not above.any():
            return []
        rows = np.arange(rows_before + 1, rows_before + 1 + ratios.shape[1])
        last = np.empty((len(ratios), ratios.shape[1] + 1), np.int64)
        last[:, 0] = self.last_above
        last[:, 1:] = np.where(above, rows, NEVER)
        np.maximum.accumulate(last, axis=1, out=last)
        begins = above & (rows - last[:, :-1] > self._calm)
        self.last_above = last[:, -1].copy()
        self.events += begins.sum(axis=1)
        return [
            Alarm(rows_before + 1 + int(place), float(ratios[number, place]), 1.0, self._names[number])
            for place, number in np.argwhere(begins.T)
        ]

    def drifting(self, row: int) -> NDArray[np.bool_]:
        """Which are in an episode after `row` rows."""
        within: NDArray[np.bool_] = row - self.last_above <= self._calm
        return within
