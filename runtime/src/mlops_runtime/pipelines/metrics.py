# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics by name, over answers that have been given.

All names of scikit-learn's scorers (https://scikit-learn.org/stable/modules/model_evaluation.html#string-name-scorers),
the short ones of errors, which are better where they are lower, and functions of a user's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, get_scorer_names

from mlops_runtime.pipelines.answers import Answers, Array

LOWER: Final = {
    "log_loss": "neg_log_loss",
    "brier": "neg_brier_score",
    "brier_score": "neg_brier_score",
    "rmse": "neg_root_mean_squared_error",
    "root_mean_squared_error": "neg_root_mean_squared_error",
    "mse": "neg_mean_squared_error",
    "mean_squared_error": "neg_mean_squared_error",
    "mae": "neg_mean_absolute_error",
    "mean_absolute_error": "neg_mean_absolute_error",
    "median_absolute_error": "neg_median_absolute_error",
    "mape": "neg_mean_absolute_percentage_error",
    "mean_absolute_percentage_error": "neg_mean_absolute_percentage_error",
    "max_error": "neg_max_error",
}
"""Better where they are lower: name -> the scorer that has it negated."""
_SHORT: Final = {"mcc": "matthews_corrcoef"}

Function = Callable[[Array, Answers], float]
"""A metric of a user's own: labels, shape (n,), and answers to a number."""


@dataclass(frozen=True)
class Metric:
    name: str
    function: Function
    lower_is_better: bool = False

    def of(self, labels: Sequence[Any] | Array, answers: Answers) -> tuple[float, str]:
        """The value, NaN where it isn't defined, and then the reason."""
        if not len(labels):
            return math.nan, "there are no rows"
        try:
            value = float(self.function(np.asarray(labels), answers))
        except Exception as error:  # a metric of a user's own may raise anything, as may scikit-learn's
            return math.nan, f"{type(error).__name__}: {error}"
        return value, "" if math.isfinite(value) else f"it is {value}"

    def better(self, value: float, than: float) -> float:
        """How much better a value is than another; below 0 where it is worse."""
        return than - value if self.lower_is_better else value - than


def metric(name: str, function: Function | None = None, *, lower_is_better: bool | None = None) -> Metric:
    """The metric of that name, or a function under it. Raises ValueError for a name that is none."""
    if function is not None:
        return Metric(name, function, bool(lower_is_better))
    scorer_name = LOWER.get(name, _SHORT.get(name, name))
    if scorer_name not in get_scorer_names():
        known = ", ".join(sorted({*LOWER, *_SHORT, *get_scorer_names()}))
        raise ValueError(f"there is no metric {name!r}; known are {known}")
    scorer = get_scorer(scorer_name)
    sign = -1.0 if name in LOWER else 1.0

    def score(labels: Array, answers: Answers) -> float:
        given = _given(labels, answers)
        return sign * float(scorer(given, np.arange(len(labels)), given.known))

    return Metric(name, score, name in LOWER)


class _Classes(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn comes without types
    """Answers that were given, as a classifier of the places of its rows."""

    def __init__(self, classes: Array, known: Array, predicted: Array, probabilities: Array | None) -> None:
        self.classes_ = classes
        self.known = known
        self._predicted = predicted
        self._probabilities = probabilities

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, places: Array) -> Array:
        return self._predicted[places]

    def predict_proba(self, places: Array) -> Array:
        if self._probabilities is None:
            raise ValueError("it needs probabilities, and the model answers without them")
        return self._probabilities[places]


class _Values(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn comes without types
    """The same of numbers."""

    def __init__(self, known: Array, predicted: Array) -> None:
        self.known = known
        self._predicted = predicted

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, places: Array) -> Array:
        return self._predicted[places]


def _given(labels: Array, answers: Answers) -> _Classes | _Values:
    """Labels and predictions in one vocabulary: two classes are 0 and 1, in their order, so that the second counts."""
    if answers.probabilities is None and _are_values(labels, answers.predicted):
        return _Values(labels.astype(np.float64), np.asarray(answers.predicted, dtype=np.float64))
    known, predicted = [_class(value) for value in labels], [_class(value) for value in answers.predicted]
    if answers.probabilities is not None:
        classes = [_class(value) for value in answers.classes]
        if strangers := sorted(set(known) - set(classes), key=str):
            raise ValueError(f"the model doesn't know the class {strangers[0]!r}")
    else:
        classes = sorted(set(known) | set(predicted), key=lambda value: (isinstance(value, str), value))
    places = {value: place for place, value in enumerate(classes)}
    return _Classes(
        np.arange(len(classes)),
        np.array([places[value] for value in known]),
        np.array([places[value] for value in predicted]),
        answers.probabilities,
    )


def _are_values(labels: Array, predicted: Array) -> bool:
    """Whether it is a regression: numbers of which at least one has a fraction."""
    both = [np.asarray(part) for part in (labels, predicted)]
    if any(part.dtype.kind not in "fiu" for part in both):
        return False
    return any(part.dtype.kind == "f" and bool((part != np.floor(part)).any()) for part in both)


def _class(value: Any) -> Any:
    """A class by its name: 1, 1.0, True and "1" are one."""
    if isinstance(value, bool | np.bool_):
        return float(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)
