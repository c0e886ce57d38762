# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the online detectors have in common: parameters, rows in any portions, state.

Statistics are in units of their threshold: 1 is the threshold. An alarm is a crossing from below; `drifting` then
holds until the statistic has been below for the expected run time, at most CALM rows.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from mlops_runtime.drift.online.average import BLOCK, Sums, WeightedSums
from mlops_runtime.drift.online.episodes import Episodes
from mlops_runtime.drift.protocol import (
    Alarm,
    Arrays,
    Feature,
    FloatArray,
    Parameters,
    Reading,
    Reference,
    Scalar,
    UnfitReference,
)

SHORTEST_RUN, LONGEST_RUN = 100, 1_000_000
CALM = 10_000
LEAST_ROWS = 100


class OnlineDetector(ABC):
    """Moving averages of scores with two memories, a short one for large changes and a long one for small ones."""

    kind: ClassVar[str]
    restarts_exactly: ClassVar[bool] = True
    defaults: ClassVar[dict[str, int | float]]
    """Parameters, with their types."""

    CALIBRATION: ClassVar[tuple[str, ...]] = (
        "rows",
        "simulated_rows",
        "simulated_run_time",
        "simulated_alarms",
        "extrapolated",
    )
    """What `calibration` in the fitted arrays says, number by number."""

    def __init__(self, fitted: Arrays, parameters: Parameters, features: tuple[Feature, ...]) -> None:
        self._parameters = self.check(parameters)
        self._features = features
        self._fitted = {name: np.asarray(array) for name, array in fitted.items()}
        self._decays = [float(decay) for decay in self._fitted["decays"]]
        self._sums = WeightedSums(self._components(), self._decays)
        names = self._names()
        self._episodes = Episodes(names, min(int(self._parameters["expected_run_time"]), CALM))
        self._statistics: FloatArray = np.zeros(len(names))
        self._rows = 0

    # What each kind of them is.

    @classmethod
    @abstractmethod
    def fit(cls, reference: Reference, parameters: Parameters) -> Self: ...

    @abstractmethod
    def _components(self) -> int:
        """How many scores a row has."""

    @abstractmethod
    def _names(self) -> tuple[str, ...]:
        """The feature that each statistic is about."""

    @abstractmethod
    def scores(self, rows: FloatArray) -> FloatArray:
        """(n, d) to (components, n)."""

    @abstractmethod
    def raw(self, sums: Sums) -> Sums:
        """From sums (components, memories, n) to the statistics of each memory, (channels, memories, n)."""

    @abstractmethod
    def ratios(self, raw: Sums) -> Sums:
        """Each statistic over its threshold, (statistics, n), from (channels, memories, n)."""

    # The protocol.

    @classmethod
    def check(cls, parameters: Parameters) -> dict[str, int | float]:
        """With the defaults. Raises `ValueError` naming what is wrong."""
        for name, value in parameters.items():
            if name not in cls.defaults:
                raise ValueError(f"{cls.kind} has no parameter {name}; it has {', '.join(cls.defaults)}")
            whole = isinstance(cls.defaults[name], int)
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise ValueError(f"{cls.kind}: {name} must be a {'whole ' if whole else ''}number, not {value!r}")
        checked = cls.defaults | {name: value for name, value in parameters.items() if isinstance(value, (int, float))}
        run_time = checked["expected_run_time"]
        if not SHORTEST_RUN <= run_time <= LONGEST_RUN:
            raise ValueError(
                f"{cls.kind}: expected_run_time must be from {SHORTEST_RUN} to {LONGEST_RUN} rows, not {run_time}"
            )
        memory = checked["memory"]
        if not (memory == 0 or 4 <= memory <= 1000):
            raise ValueError(f"{cls.kind}: memory must be from 4 to 1000 rows, or 0 for what is best, not {memory}")
        return checked

    @staticmethod
    def check_reference(reference: Reference) -> None:
        """Raises `UnfitReference`."""
        count, width = reference.rows.shape
        if width != len(reference.features) or width == 0:
            raise UnfitReference(f"The reference has {width} columns for {len(reference.features)} features.")
        if count < LEAST_ROWS:
            raise UnfitReference(f"The reference has {count} rows; at least {LEAST_ROWS} are needed.")

    @classmethod
    def load(cls, fitted: Arrays, parameters: Parameters, features: tuple[Feature, ...]) -> Self:
        return cls(fitted, parameters, features)

    def fitted(self) -> Arrays:
        return dict(self._fitted)

    def calibration(self) -> dict[str, Scalar]:
        values = zip(self.CALIBRATION, self._fitted["calibration"], strict=True)
        return {
            **self._parameters,
            **{name: round(float(value), 4) for name, value in values},
            "short_memory": round(1 / (1 - self._decays[0]), 1),
            "long_memory": round(1 / (1 - self._decays[1]), 1),
        }

    def score_one(self, row: FloatArray, time: float) -> list[Alarm]:
        return self.score_many(row[None, :], np.array([time]))

    def score_many(self, rows: FloatArray, times: FloatArray) -> list[Alarm]:  # noqa: ARG002, as the protocol has it
        if rows.ndim != 2 or rows.shape[1] != len(self._features):
            raise ValueError(f"Rows of shape {rows.shape} for {len(self._features)} features")
        alarms: list[Alarm] = []
        begin = 0
        while begin < len(rows):
            place = self._rows % BLOCK
            end = min(begin + BLOCK - place, len(rows))
            raw = self.raw(self._sums.advance(self.scores(rows[begin:end]), place))
            raw *= self._sums.squared_powers[:, place : place + end - begin]
            ratios = self.ratios(raw)
            alarms += self._episodes.advance(ratios, self._rows)
            self._statistics = ratios[:, -1].astype(np.float64)
            self._rows += end - begin
            begin = end
        return alarms

    def readings(self) -> list[Reading]:
        drifting = self._episodes.drifting(self._rows)
        return [
            Reading(float(statistic), 1.0, name, bool(latched), int(events))
            for statistic, name, latched, events in zip(
                self._statistics, self._names(), drifting, self._episodes.events, strict=True
            )
        ]

    def state(self) -> Arrays:
        return {
            "fitted": self._identity(),
            "rows": np.array([self._rows], dtype=np.int64),
            "statistics": self._statistics.copy(),
            "last_above": self._episodes.last_above.copy(),
            "events": self._episodes.events.copy(),
            "sums": self._sums.carried.copy(),
        }

    def restore(self, state: Arrays) -> None:
        here = self.state()
        if set(state) != set(here) or not np.array_equal(state["fitted"], here["fitted"]):
            raise ValueError(f"The state is not that of this {self.kind} detector: it was fitted otherwise.")
        for name, array in here.items():
            given = state[name]
            if given.shape != array.shape or given.dtype != array.dtype:
                raise ValueError(
                    f"The state's {name} has shape {given.shape} of {given.dtype}, not {array.shape} of {array.dtype}."
                )
        self._rows = int(state["rows"][0])
        self._statistics = state["statistics"].astype(np.float64)
        self._episodes.last_above = state["last_above"].astype(np.int64)
        self._episodes.events = state["events"].astype(np.int64)
        self._sums.carried = state["sums"].astype(np.float64)

    def _identity(self) -> NDArray[np.uint8]:
        """A digest of what it was fitted to, so that no other detector's state gets in."""
        if self._digest is None:
            digest = hashlib.sha256(self.kind.encode())
            for name in sorted(self._fitted):
                digest.update(name.encode())
                digest.update(np.ascontiguousarray(self._fitted[name]).tobytes())
            self._digest = np.frombuffer(digest.digest(), dtype=np.uint8)
        return self._digest

    _digest: NDArray[np.uint8] | None = None
