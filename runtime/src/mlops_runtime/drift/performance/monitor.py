# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A model's performance over the newest rows: realised, where labels have come, and estimated, where they haven't yet.

The estimate is confidence-based (Garg et al. 2022; NannyML's CBPE): calibrated probabilities say what confusion matrix
to expect. It sees the loss that comes from harder inputs, not a changed meaning of the inputs: that only labels tell.
Drift without loss: a detector alarms, neither of these does. Loss without drift: realised performance alone falls.

Each measure has a reading like a detector's: the statistic is how much worse than at training it is, the threshold how
much worse a window of this size is by chance in one window out of `1 / p_value`, from windows drawn at training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, Final, Self

import numpy as np

from mlops_runtime.drift.latch import Latch, expect
from mlops_runtime.drift.offline.parameters import Options
from mlops_runtime.drift.outputs import Outputs
from mlops_runtime.drift.performance.calibration import CalibrationMap
from mlops_runtime.drift.performance.join import Joined, LabelJoin
from mlops_runtime.drift.performance.recent import Recent
from mlops_runtime.drift.performance.scores import (
    CLASSIFICATION,
    LARGER_IS_WORSE,
    REGRESSION,
    confusion,
    log_loss,
    of_confusion,
    of_errors,
)
from mlops_runtime.drift.protocol import (
    Alarm,
    Arrays,
    FloatArray,
    Parameters,
    Reading,
    Scalar,
    UnfitReference,
)

PERFORMANCE: Final = "performance"
"""What it is called where detectors have names."""
DEFAULTS: Final[Mapping[str, Scalar]] = {
    "window": 1000,
    "p_value": 0.001,
    "waiting_predictions": 50_000,
    "waiting_labels": 10_000,
}
SIMULATIONS: Final = 300
"""Windows drawn at training: the spread of a measure is then right within 5 %."""
MINIMUM_ROWS: Final = 50
"""Of a window, for a measure to be told; of the labelled rows at training, for a monitor to be fitted."""
SMALLEST_THRESHOLD: Final = 1e-9
ESTIMATED: Final = "estimated_"


class PerformanceMonitor:
    """Measures over the newest `window` rows with labels, and over the newest `window` rows of all."""

    def __init__(self, fitted: Arrays, parameters: Parameters, outputs: Outputs) -> None:
        options = Options("performance", parameters, DEFAULTS)
        self._outputs = outputs
        self._fitted = fitted
        window = options.integer("window", minimum=MINIMUM_ROWS)
        self._width = outputs.score_width
        self._map = (
            CalibrationMap(fitted["map_scores"].astype(np.float64), fitted["map_shares"].astype(np.float64))
            if outputs.kind == "probabilities"
            else None
        )
        if self._map is not None and len(self._map.scores) != len(outputs.classes):
            raise ValueError("performance: the arrays are of other classes")
        realised = measures(outputs)
        estimated = [ESTIMATED + name for name in CLASSIFICATION] if self._map is not None else []
        self._baseline = fitted["baseline"].astype(np.float64)
        thresholds = fitted["thresholds"].astype(np.float64)
        if len(self._baseline) != len(realised) + len(estimated) or len(thresholds) != len(self._baseline):
            raise ValueError("performance: the arrays are of another kind of answer")
        tests = int(np.ceil(1 / options.number("p_value", minimum=1e-6, maximum=0.5)))
        self._realised = Measured(realised, self._baseline[: len(realised)], thresholds[: len(realised)], tests)
        self._estimated = Measured(estimated, self._baseline[len(realised) :], thresholds[len(realised) :], tests)
        self._labelled = Recent(window, self._width + 1)
        self._answered = Recent(window, self._width)
        self._join = LabelJoin(
            self._width, options.integer("waiting_predictions", minimum=1), options.integer("waiting_labels", minimum=1)
        )

    @classmethod
    def fit(
        cls,
        outputs: Outputs,
        predictions: Sequence[Any],
        labels: Sequence[Any],
        parameters: Parameters,
        seed: int = 0,
    ) -> Self:
        """From answers and labels of rows that the model was not trained on, such as its test set.

        Raises `UnfitReference` where they are too few, `ValueError` where they aren't of `outputs`.
        """
        options = Options("performance", parameters, DEFAULTS)
        scores = outputs.scores_many(predictions)
        known = np.array([outputs.label(label) for label in labels], dtype=np.float64)
        if len(scores) != len(known):
            raise ValueError(f"performance: {len(scores)} predictions and {len(known)} labels")
        whole = np.isfinite(scores).all(axis=1) & np.isfinite(known)
        scores, known = scores[whole], known[whole]
        if len(known) < MINIMUM_ROWS:
            raise UnfitReference(f"performance: {len(known)} rows with answer and label; {MINIMUM_ROWS} are needed")
        fitted: Arrays = {"rows": np.array([len(known)], dtype=np.int64)}
        calibrate = None
        if outputs.kind == "probabilities":
            calibrate = CalibrationMap.fit(scores, known)
            fitted |= {"map_scores": calibrate.scores, "map_shares": calibrate.shares}
        window = options.integer("window", minimum=MINIMUM_ROWS)
        p_value = options.number("p_value", minimum=1e-6, maximum=0.5)
        rng = np.random.default_rng(seed)
        chances = None if calibrate is None else calibrate(scores)
        baseline = worse(outputs, scores, known, chances)
        simulations = [
            worse(outputs, scores[drawn], known[drawn], None if chances is None else chances[drawn]) - baseline
            for drawn in (rng.integers(0, len(known), window) for _ in range(SIMULATIONS))
        ]
        # Means of many rows are close to normal, so the tail comes from the spread: it may lie beyond what was drawn.
        spread = np.std(simulations, axis=0)
        fitted["baseline"] = baseline
        fitted["thresholds"] = np.maximum(spread * normal_tail(p_value), SMALLEST_THRESHOLD)
        return cls(fitted, parameters, outputs)

    @classmethod
    def load(cls, fitted: Arrays, parameters: Parameters, outputs: Outputs) -> Self:
        try:
            return cls(fitted, parameters, outputs)
        except KeyError as error:
            raise ValueError(f"performance: the arrays aren't of a performance monitor: {error}") from error

    def fitted(self) -> Arrays:
        return dict(self._fitted)

    @property
    def baseline(self) -> dict[str, float]:
        """The measures at training, estimated ones included."""
        return {**self._realised.baseline(), **self._estimated.baseline()}

    @property
    def counts(self) -> Mapping[str, int]:
        """What became of predictions and labels; see `join.COUNTS`."""
        return self._join.counts

    @property
    def waiting(self) -> int:
        return self._join.waiting

    def predicted(self, requests: Sequence[tuple[str, int]], scores: FloatArray) -> list[tuple[int, Alarm]]:
        """Answers as `outputs.scores` of all rows, shape (n, numbers), and whose they are: requests, in their order,
        each with the number of its rows; a request without an id is estimated, and can't be joined with its label.

        Returns alarms, each with the place among the rows of the one that raised it.
        """
        alarms: list[tuple[int, Alarm]] = []
        if self._map is not None:
            whole, before = np.flatnonzero(np.isfinite(scores).all(axis=1)), self._answered.total
            for row, held in self._answered.take(scores):
                place = int(whole[row - before - 1])
                alarms += [(place, alarm) for alarm in self._estimated.test(row, estimate(held, self._map(held)))]
        start = 0
        for request, rows in requests:
            end = start + rows
            if request:
                joined = self._join.predicted(request, scores[start:end])
                alarms += [(end - 1, alarm) for alarm in self._compare(joined)]
            start = end
        return alarms

    def awaits(self, request: str) -> bool:
        """Whether the request's answers wait for their label."""
        return self._join.awaits(request)

    def labelled(self, request: str, label: Any) -> list[Alarm]:
        """A label's `y`: one value, or one for each row. Raises `ValueError` where it can't be of this model."""
        values = label if isinstance(label, list | tuple) else [label]
        known = np.array([self._outputs.label(value) for value in values], dtype=np.float64)
        return self._compare(self._join.labelled(request, known))

    def _compare(self, joined: Joined | None) -> list[Alarm]:
        if joined is None:
            return []
        alarms: list[Alarm] = []
        for row, held in self._labelled.take(np.column_stack([joined.scores, joined.labels])):
            alarms += self._realised.test(row, realise(self._outputs, held[:, :-1], held[:, -1]))
        return alarms

    def metrics(self) -> dict[str, float]:
        """The measures now, by name; those that have too few rows are left out."""
        found: dict[str, float] = {}
        labelled, answered = self._labelled.held(), self._answered.held()
        if len(labelled) >= MINIMUM_ROWS:
            found |= realise(self._outputs, labelled[:, :-1], labelled[:, -1])
        if self._map is not None and len(answered) >= MINIMUM_ROWS:
            found |= estimate(answered, self._map(answered))
        return found

    def readings(self) -> list[Reading]:
        """As of the last window that was full."""
        return self._realised.latch.readings() + self._estimated.latch.readings()

    def _parts(self) -> dict[str, Latch | Recent]:
        return {
            "realised_": self._realised.latch,
            "estimated_": self._estimated.latch,
            "labelled_": self._labelled,
            "answered_": self._answered,
        }

    def state(self) -> Arrays:
        parts = {prefix + name: array for prefix, part in self._parts().items() for name, array in part.state().items()}
        return {**parts, **self._join.state()}

    def restore(self, state: Arrays) -> None:
        """Raises `ValueError`, and changes nothing, where the state is of another monitor."""
        parts = self._parts()
        for prefix, part in parts.items():
            for name, array in part.state().items():
                expect(state, prefix + name, array)
        self._join.restore(state)
        for prefix, part in parts.items():
            part.restore({name: state[prefix + name] for name in part.state()})


class Measured:
    """Measures against what they were at training."""

    def __init__(self, names: Sequence[str], baseline: FloatArray, thresholds: FloatArray, calm: int) -> None:
        self._names = tuple(names)
        self._baseline = baseline
        self.latch = Latch(names, thresholds, calm)

    def test(self, row: int, found: Mapping[str, float]) -> list[Alarm]:
        now = np.array([signed(name, found[name]) for name in self._names])
        return self.latch.test(row, np.maximum(0.0, now - self._baseline))

    def baseline(self) -> dict[str, float]:
        return {name: signed(name, float(value)) for name, value in zip(self._names, self._baseline, strict=True)}


def measures(outputs: Outputs) -> tuple[str, ...]:
    if not outputs.is_classification:
        return REGRESSION
    return (*CLASSIFICATION, "log_loss") if outputs.kind == "probabilities" else CLASSIFICATION


def realise(outputs: Outputs, scores: FloatArray, labels: FloatArray) -> dict[str, float]:
    if not outputs.is_classification:
        return of_errors(scores[:, 0], labels)
    if outputs.kind == "label":
        return of_confusion(confusion(scores[:, 0], labels, len(outputs.classes)))
    matrix = confusion(scores.argmax(axis=1).astype(np.float64), labels, len(outputs.classes))
    return {**of_confusion(matrix), "log_loss": log_loss(scores, labels)}


def estimate(scores: FloatArray, chances: FloatArray) -> dict[str, float]:
    """The measures of the confusion matrix to expect, where `chances` are the calibrated `scores`."""
    predicted = scores.argmax(axis=1)
    expected = np.column_stack([chances[predicted == at].sum(axis=0) for at in range(chances.shape[1])])
    return {ESTIMATED + name: value for name, value in of_confusion(expected).items()}


def worse(outputs: Outputs, scores: FloatArray, labels: FloatArray, chances: FloatArray | None) -> FloatArray:
    """All measures of these rows, each so that more is worse, realised ones first."""
    found = realise(outputs, scores, labels)
    values = [signed(name, found[name]) for name in measures(outputs)]
    if chances is not None:
        expected = estimate(scores, chances)
        values += [signed(name, expected[name]) for name in (ESTIMATED + name for name in CLASSIFICATION)]
    return np.array(values)


def signed(name: str, value: float) -> float:
    return value if name in LARGER_IS_WORSE else -value


def normal_tail(p_value: float) -> float:
    """How many standard deviations above the mean a normal variable is with the chance `p_value`."""
    return NormalDist().inv_cdf(1 - p_value)
