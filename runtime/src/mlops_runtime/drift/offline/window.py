# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The newest rows of a stream, and the moments at which they are due for a test."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlops_runtime.drift.latch import expect
from mlops_runtime.drift.offline.parameters import Schedule
from mlops_runtime.drift.protocol import Arrays, FloatArray


class Window:
    """A ring of at most `schedule.window` rows of `width` numbers."""

    def __init__(self, schedule: Schedule, width: int) -> None:
        self._schedule = schedule
        self._rows = np.zeros((schedule.window, width))
        self._times = np.zeros(schedule.window)
        self.total = 0
        """Rows taken in since the beginning."""
        self._kept = 0
        # Of time windows: the newest time, and the end of the window that is being filled.
        self._latest = np.nan
        self._end = np.nan

    def take(self, rows: FloatArray, times: FloatArray) -> Iterator[tuple[int, FloatArray]]:
        """Take in rows, shape (n, width), and yield (number of the row that made a test due, the window's rows).

        Has to be consumed to the end: what comes after a test is taken in when the next one is asked for.
        """
        return self._by_time(rows, times) if self._schedule.by_time else self._by_count(rows, times)

    def _by_count(self, rows: FloatArray, times: FloatArray) -> Iterator[tuple[int, FloatArray]]:
        window, step = self._schedule.window, self._schedule.step
        at = 0
        while at < len(rows):
            due = window - self.total if self.total < window else step - (self.total - window) % step
            part = rows[at : at + due]
            self._append(part, times[at : at + due])
            at += len(part)
            if len(part) == due:
                yield self.total, self.held()

    def _by_time(self, rows: FloatArray, times: FloatArray) -> Iterator[tuple[int, FloatArray]]:
        schedule = self._schedule
        start = 0
        for at, time in enumerate(times.tolist()):
            if np.isnan(self._end):
                self._begin(time)
            elif time >= self._end:
                self._append(rows[start:at], times[start:at])
                start = at
                inside = self._since(self._end - schedule.seconds)
                if len(inside) >= schedule.minimum_rows:
                    yield self.total + 1, inside
                # After a pause there is one test, not one for each interval without rows.
                self._end += schedule.step_seconds * (np.floor((time - self._end) / schedule.step_seconds) + 1)
            elif time < self._latest - schedule.seconds:
                # The clock was set back, or had jumped ahead: what is kept can't be placed on it.
                self._append(rows[start:at], times[start:at])
                start = at
                self._kept = 0
                self._begin(time)
            self._latest = max(self._latest, time)
        self._append(rows[start:], times[start:])

    def _begin(self, time: float) -> None:
        self._latest = time
        self._end = time + self._schedule.seconds

    def _append(self, rows: FloatArray, times: FloatArray) -> None:
        count, size = len(rows), len(self._rows)
        if count == 0:
            return
        newest = min(count, size)
        places = np.arange(self.total + count - newest, self.total + count) % size
        self._rows[places] = rows[count - newest :]
        self._times[places] = times[count - newest :]
        self.total += count
        self._kept = min(self._kept + count, size)

    def _places(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.arange(self.total - count, self.total) % len(self._rows)

    def held(self) -> FloatArray:
        """The rows that it holds, oldest first."""
        return self._rows[self._places(self._kept)]

    def _since(self, time: float) -> FloatArray:
        places = self._places(self._kept)
        return self._rows[places[self._times[places] >= time]]

    def state(self) -> Arrays:
        return {
            "window_rows": self._rows.copy(),
            "window_times": self._times.copy(),
            "window_counts": np.array([self.total, self._kept], dtype=np.int64),
            "window_clock": np.array([self._latest, self._end]),
        }

    def restore(self, state: Arrays) -> None:
        """Raises `ValueError` where the state is of another window."""
        for name, array in self.state().items():
            expect(state, name, array)
        self._rows = np.array(state["window_rows"], dtype=np.float64)
        self._times = np.array(state["window_times"], dtype=np.float64)
        self.total, self._kept = (int(count) for count in state["window_counts"].tolist())
        self._latest, self._end = (float(time) for time in state["window_clock"].tolist())
