# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Thresholds for an expected run time to a false alarm, from the reference itself.

Streams without drift are drawn from the reference's whole rows, so that ties, missing values and what features have
to do with each other are as they are. The reference is only a sample: its averages are off the truth, and a detector
that is tested on the rows that it was fitted on never sees that; its alarms would come too early in service. So each
simulated stream is off by as much as another sample of the same size would be (a bootstrap of the averages).

The run length to a false alarm is nearly geometric, so censored runs say as much as complete ones: the expected run
time is the rows seen over the alarms seen. Where a run time is too long to see enough alarms, its threshold is
extrapolated from shorter ones, in whose logarithm it is nearly linear.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlops_runtime.drift.online.average import Sums
from mlops_runtime.drift.protocol import FloatArray, UnfitReference

SingleArray = NDArray[np.float32]

DRAWN = 64
"""Rows of which the choice is made at once."""
CACHED = 30_000
"""Sums of scores for one memory that are kept side by side: as many as stay in the processor's cache."""
BUDGET = 3e8
MOST_ROWS = 4e6
"""What a simulation may draw, in scores and in rows: a few seconds."""
ENOUGH_ALARMS = 1500
"""To expect: with them a run time is known to 3 %."""
FEW_ALARMS = 400
"""With fewer, a run time is better extrapolated from shorter ones, which have more."""
STEP = 4
"""Rows between two looks at the largest statistic."""

SHORTEST_MEMORY = 8.0
LONGEST_MEMORY = 50.0
"""Rows. A longer memory finds smaller changes, and is misled more by a reference that is off: its size allows so
much."""
ERROR = 0.75
"""How far, at most, a reference's own error may move a run length: by a factor exp(ERROR), for one feature, at one
sd."""


class Chart(Protocol):
    """How statistics come from sums of scores. Axes: scores or channels or statistics; memories; rows or streams."""

    def raw(self, sums: Sums) -> Sums:
        """From (c, s, n) to (channels, s, n)."""
        ...

    def ratios(self, raw: Sums) -> Sums:
        """What is compared with the threshold: from (channels, s, n) to (statistics, n)."""
        ...


def true_spread(scores: SingleArray) -> float:
    """The spread of a squared sum of many scores over what it is in streams from these rows; at most 1.

    Its variance goes by the trace of the squared covariance S, which n rows overstate by tr(S)^2 / n: with hundreds of
    scores that is not little (Ledoit and Wolf 2004). `scores`: (n, c).
    """
    count = len(scores)
    centred = scores - scores.mean(axis=0)
    covariance = (centred.T @ centred).astype(np.float64) / count
    seen = float(np.square(covariance).sum())
    own = float(np.trace(covariance)) ** 2 / count
    return math.sqrt(max(1 - own / seen, 0.1)) if seen > 0 else 1.0


@dataclass(frozen=True)
class Narrowed:
    """A chart in simulation, whose statistics are drawn towards their means, as `true_spread` says.

    `spreads`: (channels, 1, 1); `means`: (channels, s, 1).
    """

    chart: Chart
    spreads: SingleArray
    means: SingleArray

    def raw(self, sums: Sums) -> Sums:
        raw: Sums = self.means + (self.chart.raw(sums) - self.means) * self.spreads
        return raw

    def ratios(self, raw: Sums) -> Sums:
        return self.chart.ratios(raw)


def memories(rows: int, expected_run_time: int, features: int, wanted: float) -> tuple[float, float]:
    """A short memory and a long one, in rows; `wanted`: the long one, 0 for what the reference allows.

    Raises `UnfitReference` where it doesn't allow any.
    """
    quantile = 2 * math.log(expected_run_time * max(features, 1))  # of a chi-squared statistic at its threshold, nearly
    # The average's error has, over the moving average's own sd, the variance 2 memory / rows.
    allowed = rows * ERROR**2 / (2 * quantile)
    least = max(wanted, SHORTEST_MEMORY)
    if allowed < least:
        needed = math.ceil(least * 2 * quantile / ERROR**2)
        raise UnfitReference(
            f"The reference has {rows} rows: an expected run time of {expected_run_time} rows needs {needed} of them."
            " Fit on more rows, or state a shorter expected_run_time" + (" or memory." if wanted else ".")
        )
    long = wanted or min(LONGEST_MEMORY, allowed)
    return max(long / 2.5, 4.0), long


def side_by_side(components: int) -> int:
    """How many streams."""
    return int(np.clip(CACHED // components, 32, 256))


def streams(scores: SingleArray, decays: list[float], rows: int, random: np.random.Generator) -> Iterator[SingleArray]:
    """Sums of scores of some streams from the reference, row after row; the same array each time, (c, s, streams).

    `scores`: (n, c), of the reference's rows.
    """
    count, components = scores.shape
    width = side_by_side(components)
    error = (random.standard_normal((width, count), dtype=np.float32) @ scores).T / np.float32(count)
    sums = np.zeros((components, len(decays), width), np.float32)
    decay = np.array(decays, np.float32)[:, None]
    gathered = np.empty((width, components), np.float32)
    drawn = np.empty((components, 1, width), np.float32)
    for number in range(rows):
        if number % DRAWN == 0:
            choices = random.integers(count, size=(DRAWN, width))
        np.take(scores, choices[number % DRAWN], axis=0, out=gathered, mode="clip")
        np.add(gathered.T, error, out=drawn[:, 0])
        np.multiply(sums, decay, out=sums)
        np.add(sums, drawn, out=sums)
        yield sums


def settled(chart: Chart, scores: SingleArray, decays: list[float], random: np.random.Generator) -> Sums:
    """Samples of the raw statistics without drift: (channels, s, samples)."""
    memory = round(1 / (1 - max(decays)))
    samples = [
        chart.raw(sums)
        for number, sums in enumerate(
            streams(scores, decays, memory * (4 + 12 * 256 // side_by_side(scores.shape[1])), random)
        )
        if number >= memory * 4 and number % max(memory // 4, 1) == 0
    ]
    return np.concatenate(samples, axis=2)


def tail_quantile(samples: Sums, probability: float) -> FloatArray:
    """What is exceeded with `probability`, by the exponential tail above the 99 % quantile; (..., samples) to (...)."""
    high = np.quantile(samples, 0.99, axis=-1)
    beyond = np.maximum(samples - high[..., None], 0.0)
    excess = beyond.sum(axis=-1) / np.maximum((beyond > 0).sum(axis=-1), 1)
    quantile: FloatArray = high + excess * max(math.log(0.01 / probability), 0.0)
    return quantile


@dataclass(frozen=True)
class Simulated:
    """The largest ratio so far in streams without drift: (looks, streams), a look each STEP rows."""

    largest: SingleArray

    @property
    def rows(self) -> int:
        return self.largest.size * STEP

    def run_time(self, threshold: float) -> tuple[float, int]:
        """The expected run time to an alarm at a threshold, in rows, and how many alarms say so."""
        alarms = int((self.largest[-1] > threshold).sum())
        calm = int((self.largest <= threshold).sum())
        return (calm + alarms / 2) * STEP / max(alarms, 0.5), alarms

    def threshold(self, expected_run_time: float) -> tuple[float, bool]:
        """For an expected run time, and whether it is extrapolated."""
        if expected_run_time <= self.rows / FEW_ALARMS:
            return self._solve(expected_run_time), False
        longest = min(expected_run_time, self.rows / 150)
        # Not from run times that are mostly the start, in which alarms are fewer.
        shortest = min(max(longest / 16, 300.0), longest / 2)
        levels = np.geomspace(shortest, longest, 9)
        slope, intercept = np.polyfit(np.log(levels), [self._solve(level) for level in levels], 1)
        return float(intercept + slope * math.log(expected_run_time)), True

    def _solve(self, run_time: float) -> float:
        low, high = 0.0, float(self.largest.max())
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.run_time(middle)[0] < run_time else (low, middle)
        return high


def simulate(
    chart: Chart, scores: SingleArray, decays: list[float], expected_run_time: int, random: np.random.Generator
) -> Simulated:
    """Streams without drift, from the start on, as long as is useful for the expected run time."""
    width = side_by_side(scores.shape[1])
    total = min(BUDGET / scores.shape[1], MOST_ROWS, ENOUGH_ALARMS * expected_run_time)
    length = int(np.clip(2 * expected_run_time, 1000, 8000))
    length = min(length, max(int(total / width), 1000)) // STEP * STEP
    batches = []
    for _ in range(max(1, round(total / (width * length)))):
        looks = np.empty((length // STEP, width), np.float32)
        largest = np.zeros(width, np.float32)
        for number, sums in enumerate(streams(scores, decays, length, random)):
            np.maximum(largest, chart.ratios(chart.raw(sums)).max(axis=0), out=largest)
            if number % STEP == STEP - 1:
                looks[number // STEP] = largest
        batches.append(looks)
    return Simulated(np.concatenate(batches, axis=1))
