# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A small real detector for the tests of what is around detectors: a two-sided CUSUM of the mean over all features.

Page, 1954. Row by row in Python, so that how rows are grouped can't matter.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
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


class Cusum:
    kind: ClassVar[str] = "cusum"
    restarts_exactly: ClassVar[bool] = True

    def __init__(self, mean: FloatArray, deviation: FloatArray, threshold: float) -> None:
        self._mean, self._deviation, self._threshold = mean, deviation, threshold
        self._up = self._down = 0.0
        self._rows = self._events = 0
        self._above = False

    @classmethod
    def fit(cls, reference: Reference, parameters: Parameters) -> Self:
        if unknown := sorted(set(parameters) - {"threshold"}):
            raise ValueError(f"cusum has no parameter {', '.join(unknown)}")
        if len(reference.rows) < 10:
            raise UnfitReference(f"{len(reference.rows)} rows; cusum wants 10")
        deviation = np.nanstd(reference.rows, axis=0)
        return cls(np.nanmean(reference.rows, axis=0), np.where(deviation > 0, deviation, 1), cls._limit(parameters))

    @staticmethod
    def _limit(parameters: Parameters) -> float:
        return float(parameters.get("threshold", 12.0))

    @classmethod
    def load(cls, fitted: Arrays, parameters: Parameters, features: tuple[Feature, ...]) -> Self:
        if len(fitted["mean"]) != len(features):
            raise ValueError(f"{len(fitted['mean'])} means for {len(features)} features")
        return cls(fitted["mean"].astype(float), fitted["deviation"].astype(float), cls._limit(parameters))

    def fitted(self) -> Arrays:
        return {"mean": self._mean, "deviation": self._deviation}

    def calibration(self) -> dict[str, Scalar]:
        return {"threshold": self._threshold}

    def score_one(self, row: FloatArray, time: float) -> list[Alarm]:
        return self.score_many(row[np.newaxis], np.array([time]))

    def score_many(self, rows: FloatArray, times: FloatArray) -> list[Alarm]:
        alarms = []
        for row in rows:
            self._rows += 1
            scaled = (row - self._mean) / self._deviation
            known = scaled[~np.isnan(scaled)]
            level = float(known.sum()) / max(1.0, float(np.sqrt(len(known))))
            self._up = max(0.0, self._up + level - 0.5)
            self._down = max(0.0, self._down - level - 0.5)
            statistic = max(self._up, self._down)
            if statistic > self._threshold and not self._above:
                self._events += 1
                alarms.append(Alarm(self._rows, statistic, self._threshold))
            self._above = statistic > self._threshold
        return alarms

    def readings(self) -> list[Reading]:
        statistic = max(self._up, self._down)
        return [Reading(statistic, self._threshold, drifting=self._above, events=self._events)]

    def state(self) -> Arrays:
        counts = np.array([self._rows, self._events, self._above], dtype=np.int64)
        return {"sums": np.array([self._up, self._down]), "counts": counts}

    def restore(self, state: Arrays) -> None:
        self._up, self._down = map(float, state["sums"])
        self._rows, self._events = map(int, state["counts"][:2])
        self._above = bool(state["counts"][2])
