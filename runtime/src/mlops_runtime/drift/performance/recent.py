# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The newest rows that have all their values, and the moments at which they are all new."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlops_runtime.drift.offline.parameters import Schedule
from mlops_runtime.drift.offline.window import Window
from mlops_runtime.drift.protocol import Arrays, FloatArray


class Recent:
    """At most `window` rows of `width` numbers; a test is due when none of them was in the last one."""

    def __init__(self, window: int, width: int) -> None:
        self._window = Window(Schedule(window, window, 0.0, 0.0, 2), width)

    def take(self, rows: FloatArray) -> Iterator[tuple[int, FloatArray]]:
        whole = rows[np.isfinite(rows).all(axis=1)]
        return self._window.take(whole, np.zeros(len(whole)))

    @property
    def total(self) -> int:
        """Rows that had all their values, since the beginning."""
        return self._window.total

    def held(self) -> FloatArray:
        return self._window.held()

    def state(self) -> Arrays:
        return self._window.state()

    def restore(self, state: Arrays) -> None:
        self._window.restore(state)
