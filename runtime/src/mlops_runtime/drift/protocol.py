# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a detector is: fitted once, at training; then rows in, alarms out; its state can leave and come back.

A detector's life has two halves. `fit` runs where the model is trained and may take seconds; `fitted()` are the arrays
it leaves, which the artefact holds. `load` makes the detector from them in the service, in milliseconds, and computes
nothing. `state()` is what the detector has learnt from the stream since; a detector that is given it back by `restore`
goes on exactly as it would have, alarm for alarm, bit for bit. How rows are grouped into calls must not matter:
`score_many` gives what `score_one` would for each row in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Arrays = dict[str, NDArray[np.generic]]
"""Named arrays without objects in them: what a `.npz` holds without pickling."""
Scalar = str | int | float | bool
Parameters = Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Feature:
    """A column as the detectors see it: a number, or a category as its index in `categories`; missing is NaN."""

    name: str
    categories: tuple[str, ...] | None = None

    @property
    def is_categorical(self) -> bool:
        return self.categories is not None


@dataclass(frozen=True, slots=True)
class Reference:
    """What a detector is fitted on.

    `rows`: shape (n, d), float64, one column for each feature, NaN where missing, in an order that doesn't matter
    (exchangeable). `seed` decides all chance, so that the same reference gives the same detector.
    """

    rows: FloatArray
    features: tuple[Feature, ...]
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Alarm:
    """A test statistic that crossed its threshold from below. `row` counts the detector's rows from 1."""

    row: int
    statistic: float
    threshold: float
    feature: str = ""
    """The one that it is about; empty where the statistic is about all of them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Where a statistic stands now; `drifting` is latched: from an alarm until it has been calm for a while."""

    statistic: float
    threshold: float
    feature: str = ""
    drifting: bool = False
    events: int = 0
    """Alarms of this statistic since the detector began."""

    @property
    def ratio(self) -> float:
        return self.statistic / self.threshold if self.threshold > 0 else 0.0


class UnfitReference(ValueError):
    """The reference can't carry what is asked of it: too few rows for so long a run, no variation at all, ..."""


class Detector(Protocol):
    """One detector of a model version."""

    kind: ClassVar[str]
    """Its name in a declaration, such as `ewma`, `rff`, `ks`."""
    restarts_exactly: ClassVar[bool]
    """Whether `restore` continues bit for bit. One that can't says so here, and starts clean."""

    @classmethod
    def fit(cls, reference: Reference, parameters: Parameters) -> Self:
        """Fit and calibrate.

        Raises `UnfitReference`, and `ValueError` with the name of a parameter that doesn't exist or is wrong.
        """
        ...

    @classmethod
    def load(cls, fitted: Arrays, parameters: Parameters, features: tuple[Feature, ...]) -> Self:
        """What `fit` made, from its arrays."""
        ...

    def fitted(self) -> Arrays:
        """What the artefact holds: everything that `load` needs, besides the parameters."""
        ...

    def calibration(self) -> dict[str, Scalar]:
        """How it was calibrated, for people: the expected run time, what the simulation gave, rows used, ..."""
        ...

    def score_one(self, row: FloatArray, time: float) -> list[Alarm]:
        """Take in one row, shape (d,), whose record was made at `time` (seconds since the epoch)."""
        ...

    def score_many(self, rows: FloatArray, times: FloatArray) -> list[Alarm]:
        """Take in rows, shape (n, d), in order; `times`, shape (n,). The same as `score_one` for each."""
        ...

    def readings(self) -> list[Reading]:
        """Where its statistics stand; the same features in the same order each time."""
        ...

    def state(self) -> Arrays:
        """What it has learnt since it was loaded; its size doesn't grow with the rows."""
        ...

    def restore(self, state: Arrays) -> None:
        """Go on from there. Raises `ValueError` where it is another detector's."""
        ...
