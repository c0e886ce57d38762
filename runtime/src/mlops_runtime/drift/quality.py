# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Data quality, apart from drift: which share of a feature's latest values was missing, and which was invalid (outside
the reference's range, or a category that the reference lacks).

Counts are whole numbers over a window that moves by blocks of rows, so that they are exact, don't depend on how rows
are grouped into calls, and take the same room for ever.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlops_runtime.drift.protocol import Arrays, FloatArray
from mlops_runtime.drift.schema import Schema

BLOCK = 256
BLOCKS = 8
"""The window: the current block and the seven before it, 1,793 to 2,048 rows."""


class Quality:
    """Of the rows of one version on one partition."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        # Axes: missing or invalid, block, feature.
        self._counts: NDArray[np.int64] = np.zeros((2, BLOCKS, len(schema)), dtype=np.int64)
        self._totals: NDArray[np.int64] = np.zeros((2, len(schema)), dtype=np.int64)
        self.rows = 0

    def observe(self, rows: FloatArray) -> None:
        """Take in rows, shape (n, features)."""
        missing = np.isnan(rows)
        invalid = (rows < self._schema.minimum) | (rows > self._schema.maximum)
        any_missing, any_invalid = bool(missing.any()), bool(invalid.any())
        begun = 0
        while begun < len(rows):
            block, used = divmod(self.rows, BLOCK)
            slot = block % BLOCKS
            if used == 0:
                self._counts[:, slot] = 0
            ended = min(len(rows), begun + BLOCK - used)
            if any_missing:
                self._add(0, slot, missing[begun:ended])
            if any_invalid:
                self._add(1, slot, invalid[begun:ended])
            self.rows += ended - begun
            begun = ended

    def _add(self, which: int, slot: int, mask: NDArray[np.bool_]) -> None:
        counts = np.count_nonzero(mask, axis=0)
        self._counts[which, slot] += counts
        self._totals[which] += counts

    def window(self) -> int:
        """Rows that the ratios are over."""
        if self.rows <= BLOCK * BLOCKS:
            return self.rows
        return BLOCK * (BLOCKS - 1) + ((self.rows - 1) % BLOCK + 1)

    def missing(self) -> FloatArray:
        """Ratio for each feature, shape (features,)."""
        return self._ratio(0)

    def invalid(self) -> FloatArray:
        """Ratio for each feature, shape (features,)."""
        return self._ratio(1)

    def ratios(self) -> Iterator[tuple[str, float, float]]:
        """Each feature's name and its share of missing and of invalid values."""
        return zip(self._schema.names, self.missing().tolist(), self.invalid().tolist(), strict=True)

    def totals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Missing and invalid values of each feature since the beginning."""
        return self._totals[0], self._totals[1]

    def _ratio(self, which: int) -> FloatArray:
        summed: FloatArray = self._counts[which].sum(axis=0) / max(1, self.window())
        return summed

    def state(self) -> Arrays:
        return {
            "counts": self._counts.copy(),
            "totals": self._totals.copy(),
            "rows": np.array([self.rows], dtype=np.int64),
        }

    def restore(self, state: Arrays) -> None:
        """Raises ValueError where it is another schema's."""
        for name, mine in (("counts", self._counts), ("totals", self._totals)):
            if name not in state or state[name].shape != mine.shape or "rows" not in state:
                raise ValueError(f"the data quality's {name} don't fit {len(self._schema)} features")
            mine[...] = state[name]
        self.rows = int(state["rows"][0])
