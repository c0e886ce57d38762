# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""References for the online detectors' tests, and detectors that were fitted on them with little simulation."""

from __future__ import annotations

import functools
from unittest import mock

import numpy as np
from mlops_runtime.drift.online import calibration
from mlops_runtime.drift.online.detector import OnlineDetector
from mlops_runtime.drift.online.ewma import Ewma
from mlops_runtime.drift.online.rff import Rff
from mlops_runtime.drift.protocol import Feature, FloatArray, Reference

KINDS: dict[str, type[OnlineDetector]] = {"ewma": Ewma, "rff": Rff}
FEATURES = (
    Feature("age"),
    Feature("visits"),
    Feature("income"),
    Feature("always one"),
    Feature("colour", ("red", "green", "blue", "pink")),
    Feature("only", ("one",)),
)


def mixed(random: np.random.Generator, count: int) -> FloatArray:
    """Of FEATURES: a bell, counts with ties, a heavy tail, a constant, categories with a rare one, a single category;
    10 % missing."""
    rows = np.column_stack(
        [
            random.normal(40, 10, count),
            random.poisson(1.5, count),
            random.standard_t(2, count),
            np.ones(count),
            random.choice(4, count, p=[0.6, 0.3, 0.095, 0.005]),
            np.zeros(count),
        ]
    ).astype(np.float64)
    rows[random.random(rows.shape) < 0.1] = np.nan
    return rows


def numbers(width: int) -> tuple[Feature, ...]:
    return tuple(Feature(f"f{number}") for number in range(width))


def fit(kind: str, reference: Reference, **parameters: int | float) -> OnlineDetector:
    """With a tenth of the usual simulation, at least."""
    with mock.patch.object(calibration, "BUDGET", 1e7), mock.patch.object(calibration, "MOST_ROWS", 4e5):
        return KINDS[kind].fit(reference, parameters)


@functools.cache
def on_mixed(kind: str) -> OnlineDetector:
    """Used as it is; `fresh` gives one for oneself."""
    reference = Reference(mixed(np.random.default_rng(7), 2000), FEATURES, seed=7)
    return fit(kind, reference, expected_run_time=500, **({"components": 64} if kind == "rff" else {}))


def fresh(kind: str) -> OnlineDetector:
    fitted = on_mixed(kind)
    parameters = {name: value for name, value in fitted.calibration().items() if name in fitted.defaults}
    return KINDS[kind].load(fitted.fitted(), parameters, FEATURES)
