# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the detectors on windows: defaults, checks, and the significance level that they ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mlops_runtime.drift.protocol import Parameters, Scalar

COMMON: Final[Mapping[str, Scalar]] = {
    "window": 500,
    "step": 0,
    "window_seconds": 0.0,
    "step_seconds": 0.0,
    "minimum_rows": 50,
    "reference_rows": 5000,
    "p_value": 0.0,
    "expected_run_time": 0,
}
"""What every detector on windows takes; 0 is "not given"."""

DEFAULT_RUN_TIME: Final = 10_000
"""Rows between two false alarms where nothing is said and windows are counted in rows; 20 steps where that is more."""
DEFAULT_P_VALUE: Final = 0.001
"""Of a test where nothing is said, and windows are counted in seconds."""


class Options:
    """A detector's parameters, defaults filled in. Each is read by its type; a name that doesn't exist is refused."""

    def __init__(self, kind: str, parameters: Parameters, defaults: Mapping[str, Scalar]) -> None:
        self.kind = kind
        unknown = sorted(set(parameters) - set(defaults))
        if unknown:
            raise ValueError(f"{kind}: no parameter {unknown[0]!r}; there are {', '.join(sorted(defaults))}")
        self._values: dict[str, Scalar] = {**defaults, **parameters}

    def integer(self, name: str, minimum: int = 0) -> int:
        value = self._values[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < minimum:
            raise self.wrong(name, f"a whole number of at least {minimum}")
        return int(value)

    def number(self, name: str, minimum: float = 0.0, maximum: float = math.inf) -> float:
        value = self._values[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value <= maximum:
            raise self.wrong(name, f"a number from {minimum:g} to {maximum:g}")
        return float(value)

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        value = self._values[name]
        if not isinstance(value, str) or value not in choices:
            raise self.wrong(name, f"one of {', '.join(choices)}")
        return value

    def wrong(self, name: str, wanted: str) -> ValueError:
        return ValueError(f"{self.kind}: {name} is {self._values[name]!r}; it has to be {wanted}")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which rows a window holds, and when it is tested.

    By count: the newest `window` rows, tested when full and then every `step` rows. By time (`seconds` > 0): the rows
    of the last `seconds`, the newest `window` of them, tested every `step_seconds` where at least `minimum_rows` are.
    """

    window: int
    step: int
    seconds: float
    step_seconds: float
    minimum_rows: int

    @classmethod
    def read(cls, options: Options) -> Schedule:
        window = options.integer("window", minimum=10)
        seconds = options.number("window_seconds")
        step_seconds = options.number("step_seconds")
        if step_seconds > 0 and seconds == 0:
            raise options.wrong("step_seconds", "given together with window_seconds")
        if step_seconds > seconds:
            raise options.wrong("step_seconds", "at most window_seconds")
        step = options.integer("step") or window
        if step > window:
            raise options.wrong("step", "at most window, or rows would never be looked at")
        minimum = min(options.integer("minimum_rows", minimum=2), window)
        return cls(window, step, seconds, step_seconds or seconds, minimum)

    @property
    def by_time(self) -> bool:
        return self.seconds > 0

    @property
    def windows_apart(self) -> int:
        """Tests until a window shares no row with the one tested now."""
        if self.by_time:
            return math.ceil(self.seconds / self.step_seconds)
        return math.ceil(self.window / self.step)


def significance(options: Options, schedule: Schedule) -> float | None:
    """The chance of a false alarm that one test may have; None where neither form of it is given.

    With a test every `step` rows, a false alarm comes after step / alpha rows on average if windows don't overlap
    (a geometric distribution), later if they do. So alpha = step / expected_run_time.
    """
    p_value = options.number("p_value", maximum=0.5)
    run_time = options.integer("expected_run_time")
    if p_value and run_time:
        raise options.wrong("p_value", "left out where expected_run_time is given")
    if run_time and schedule.by_time:
        raise options.wrong("expected_run_time", "left out where windows are by time: it counts rows. Give p_value")
    if run_time:
        if run_time < 2 * schedule.step:
            raise options.wrong("expected_run_time", f"at least two steps of {schedule.step} rows")
        return schedule.step / run_time
    return p_value or None


def default_significance(schedule: Schedule) -> float:
    return DEFAULT_P_VALUE if schedule.by_time else min(0.05, schedule.step / DEFAULT_RUN_TIME)
