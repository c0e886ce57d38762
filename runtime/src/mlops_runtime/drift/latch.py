# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Statistics that are tested now and then: which crossed their thresholds, and which still count as drifting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlops_runtime.drift.protocol import Alarm, Arrays, FloatArray, Reading


class Latch:
    """`names`: what each statistic is about; `thresholds`: shape (len(names),), above zero.

    A statistic drifts from an alarm until `calm` tests in a row have found it at or below its threshold.
    """

    def __init__(self, names: Sequence[str], thresholds: FloatArray, calm: int) -> None:
        self.names = tuple(names)
        self.thresholds = np.asarray(thresholds, dtype=np.float64)
        self._calm_tests = calm
        size = len(self.names)
        self._statistics = np.zeros(size)
        self._above = np.zeros(size, dtype=np.bool_)
        self._drifting = np.zeros(size, dtype=np.bool_)
        self._calm = np.zeros(size, dtype=np.int64)
        self._events = np.zeros(size, dtype=np.int64)

    def test(self, row: int, statistics: FloatArray) -> list[Alarm]:
        """Take in one test's statistics, shape (len(names),), made at `row`; the alarms are those that crossed."""
        above = statistics > self.thresholds
        crossed = above & ~self._above
        self._calm = np.where(above, 0, self._calm + 1)
        self._drifting = above | (self._drifting & (self._calm < self._calm_tests))
        self._events = self._events + crossed
        self._above = above
        self._statistics = statistics.astype(np.float64)
        return [
            Alarm(row, float(statistics[at]), float(self.thresholds[at]), self.names[at])
            for at in np.flatnonzero(crossed).tolist()
        ]

    def readings(self) -> list[Reading]:
        return [
            Reading(
                float(self._statistics[at]),
                float(self.thresholds[at]),
                name,
                bool(self._drifting[at]),
                int(self._events[at]),
            )
            for at, name in enumerate(self.names)
        ]

    def state(self) -> Arrays:
        return {
            "latch_statistics": self._statistics.copy(),
            "latch_above": self._above.copy(),
            "latch_drifting": self._drifting.copy(),
            "latch_calm": self._calm.copy(),
            "latch_events": self._events.copy(),
        }

    def restore(self, state: Arrays) -> None:
        """Raises `ValueError` where the state is of other statistics."""
        own = self.state()
        for name, array in own.items():
            expect(state, name, array)
        self._statistics = np.array(state["latch_statistics"], dtype=np.float64)
        self._above = np.array(state["latch_above"], dtype=np.bool_)
        self._drifting = np.array(state["latch_drifting"], dtype=np.bool_)
        self._calm = np.array(state["latch_calm"], dtype=np.int64)
        self._events = np.array(state["latch_events"], dtype=np.int64)


def expect(state: Arrays, name: str, like: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
    """Raises `ValueError` unless `state` has the array `name` of the same shape and type as `like`."""
    given = state.get(name)
    if given is None:
        raise ValueError(f"state has no array {name!r}: it is another detector's")
    if given.shape != like.shape or given.dtype != like.dtype:
        raise ValueError(
            f"state's array {name!r} is {given.dtype}{list(given.shape)}, not {like.dtype}{list(like.shape)}: "
            "it is of other features or parameters"
        )
