# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What all detectors on windows share: parameters, the window, alarms and readings, state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Self

import numpy as np

from mlops_runtime.drift.latch import Latch, expect
from mlops_runtime.drift.offline.parameters import (
    COMMON,
    Options,
    Schedule,
    default_significance,
    significance,
)
from mlops_runtime.drift.offline.window import Window
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

MINIMUM_REFERENCE: Final = 100
"""Rows. With fewer, the reference's own chance decides what is drift."""
LARGEST_STATISTIC: Final = 300.0
"""Of -log10(p): below 1e-300 a double has no digits left."""


class WindowDetector(ABC):
    """A test of a window against what `fit` kept of the reference.

    A subclass says which statistics there are (`_names`), their `_thresholds`, and computes them (`_statistics`).
    """

    kind: ClassVar[str]
    restarts_exactly: ClassVar[bool] = True
    defaults: ClassVar[Mapping[str, Scalar]] = {}
    """Its own parameters, besides the common ones."""

    def __init__(self, fitted: Arrays, parameters: Parameters, features: tuple[Feature, ...]) -> None:
        self._options = self._read(parameters)
        self._schedule = Schedule.read(self._options)
        self._alpha = self._significance(self._options, self._schedule)
        self._fitted = fitted
        self._features = features
        self._prepare()
        thresholds = self._thresholds()
        calm = self._schedule.windows_apart if self._alpha is None else int(np.ceil(1 / self._alpha))
        self._latch = Latch(self._names(), thresholds, calm)
        self._window = Window(self._schedule, len(features))

    @classmethod
    def fit(cls, reference: Reference, parameters: Parameters) -> Self:
        options = cls._read(parameters)
        schedule = Schedule.read(options)
        cls._significance(options, schedule)
        count = len(reference.rows)
        needed = max(MINIMUM_REFERENCE, schedule.window)
        if count < needed:
            raise UnfitReference(
                f"{cls.kind}: the reference has {count} rows; a window of {schedule.window} needs {needed} or more"
            )
        rows = np.where(np.isfinite(reference.rows), reference.rows, np.nan)
        fitted = cls._fit(Reference(rows, reference.features, reference.seed), options)
        fitted["reference_count"] = np.array([count], dtype=np.int64)
        return cls(fitted, parameters, reference.features)

    @classmethod
    def load(cls, fitted: Arrays, parameters: Parameters, features: tuple[Feature, ...]) -> Self:
        try:
            return cls(fitted, parameters, features)
        except (KeyError, IndexError) as error:
            raise ValueError(f"{cls.kind}: the arrays aren't what {cls.kind} leaves: {error}") from error

    def fitted(self) -> Arrays:
        return dict(self._fitted)

    def calibration(self) -> dict[str, Scalar]:
        """`p_value` of a test (all features together), and the rows between false alarms that it stands for."""
        schedule = self._schedule
        found: dict[str, Scalar] = {
            "reference_rows": int(self._fitted["reference_count"][0]),
            "statistics": len(self._latch.names),
        }
        if self._alpha is not None:
            found["p_value"] = self._alpha
            if not schedule.by_time:
                found["expected_run_time"] = round(schedule.step / self._alpha)
        return found

    def score_one(self, row: FloatArray, time: float) -> list[Alarm]:
        return self.score_many(row[None, :], np.array([time]))

    def score_many(self, rows: FloatArray, times: FloatArray) -> list[Alarm]:
        alarms: list[Alarm] = []
        for row, window in self._window.take(rows, times):
            # What isn't finite is missing: counted by the data quality, never fed to a test.
            inside = np.where(np.isfinite(window), window, np.nan)
            alarms += self._latch.test(row, self._statistics(inside))
        return alarms

    def readings(self) -> list[Reading]:
        return self._latch.readings()

    def state(self) -> Arrays:
        return {**self._window.state(), **self._latch.state()}

    def restore(self, state: Arrays) -> None:
        # A state that is refused changes nothing.
        for name, array in self.state().items():
            expect(state, name, array)
        self._latch.restore(state)
        self._window.restore(state)

    @classmethod
    def _read(cls, parameters: Parameters) -> Options:
        return Options(cls.kind, parameters, {**COMMON, **cls.defaults})

    @classmethod
    def _significance(cls, options: Options, schedule: Schedule) -> float | None:
        return significance(options, schedule) or default_significance(schedule)

    @classmethod
    @abstractmethod
    def _fit(cls, reference: Reference, options: Options) -> Arrays:
        """The arrays to keep. The reference's rows are finite or NaN."""

    @abstractmethod
    def _prepare(self) -> None:
        """Take what is needed out of `self._fitted`."""

    @abstractmethod
    def _names(self) -> Sequence[str]: ...

    @abstractmethod
    def _thresholds(self) -> FloatArray: ...

    @abstractmethod
    def _statistics(self, rows: FloatArray) -> FloatArray:
        """Of the window's rows, shape (n, d), finite or NaN; shape (len(names),)."""


def sample(rows: FloatArray, count: int, seed: int) -> FloatArray:
    """At most `count` of the rows, without replacement."""
    if len(rows) <= count:
        return rows.copy()
    chosen: FloatArray = rows[np.random.default_rng(seed).choice(len(rows), count, replace=False)]
    return chosen


def evidence(p_values: FloatArray) -> FloatArray:
    """-log10(p): the larger, the less the window looks like the reference."""
    statistics: FloatArray = -np.log10(np.clip(p_values, 10.0**-LARGEST_STATISTIC, 1.0))
    return statistics + 0.0  # so that p = 1 gives 0, not -0
