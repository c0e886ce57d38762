# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A classifier that tries to tell the window's rows from the reference's: what it can tell apart has drifted.

The statistic is the area under the ROC curve on rows that it wasn't trained on, the mean over the folds; 0.5 is
guessing. Each fold's area is Mann-Whitney's U over the number of pairs, so its distribution without drift is known
(Hanley and McNeil 1982), whatever the classifier. The folds' areas depend on each other a little, though:

- `calibration: permutation`: the threshold comes from windows drawn out of the reference at training.
- `calibration: mann_whitney`: a bound that needs no drawing: the mean's spread is at most that of one fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from mlops_runtime.drift.offline.detector import WindowDetector, sample
from mlops_runtime.drift.offline.parameters import Options, Schedule
from mlops_runtime.drift.protocol import Arrays, Feature, FloatArray, Reference, UnfitReference

CALIBRATIONS: Final = ("permutation", "mann_whitney")
CLASSIFIERS: Final = ("logistic", "hist_gradient_boosting")
LARGEST_THRESHOLD: Final = 0.95


class DomainClassifier(WindowDetector):
    """`logistic` sees features that moved; `hist_gradient_boosting` any difference, at ten times the cost."""

    kind = "domain_classifier"
    defaults = {
        "classifier": "logistic",
        "calibration": "permutation",
        "permutations": 50,
        "folds": 3,
        "reference_rows": 2000,
    }

    @classmethod
    def _fit(cls, reference: Reference, options: Options) -> Arrays:
        schedule = Schedule.read(options)
        alpha = cls._significance(options, schedule)
        assert alpha is not None
        count = options.integer("reference_rows", minimum=100)
        kept = sample(reference.rows, count, reference.seed)
        empty = np.flatnonzero(~np.isfinite(kept).any(axis=0))
        if len(empty):
            raise UnfitReference(f"{cls.kind}: {reference.features[empty[0]].name} has no value in the reference")
        centre, scale = np.nanmean(kept, axis=0), np.nanstd(kept, axis=0)
        fitted: Arrays = {"sample": kept, "centre": centre, "scale": np.where(scale > 0, scale, 1.0)}
        if options.choice("calibration", CALIBRATIONS) == "permutation":
            threshold = cls._permuted(reference, options, fitted, alpha)
        else:
            threshold = mann_whitney_bound(len(kept), schedule.window, options.integer("folds", minimum=2), alpha)
        if threshold > LARGEST_THRESHOLD:
            raise UnfitReference(
                f"{cls.kind}: at p {alpha:g}, with a window of {schedule.window} rows, only an area above "
                f"{threshold:.2f} would count. Ask for a shorter expected_run_time or a longer window"
            )
        fitted["threshold"] = np.array([threshold])
        return fitted

    @classmethod
    def _permuted(cls, reference: Reference, options: Options, fitted: Arrays, alpha: float) -> float:
        """The bound of a one-sided prediction interval from the areas of windows drawn out of the reference.

        A quantile of so few couldn't reach far into the tail; the mean of several areas is close to normal, so
        Student's t does (Whitmore 1986).
        """
        from scipy.stats import t

        window = Schedule.read(options).window
        count = options.integer("permutations", minimum=20)
        if len(reference.rows) < 2 * window:
            raise UnfitReference(
                f"{cls.kind}: a reference of {len(reference.rows)} rows has no windows of {window} to draw; "
                f"{2 * window} rows would do, or `calibration: mann_whitney`"
            )
        rng = np.random.default_rng(reference.seed)
        size = len(fitted["sample"])
        encoded = Encoding(fitted, reference.features)
        areas = np.empty(count)
        for at in range(count):
            order = rng.permutation(len(reference.rows))
            drawn = reference.rows[order[:window]]
            # Where the reference is small the rest has fewer rows than the sample: it is drawn from again.
            rest = reference.rows[np.resize(order[window:], size)]
            areas[at] = out_of_fold(encoded(rest), encoded(drawn), options)
        reach = t.ppf(1 - alpha, count - 1) * np.sqrt(1 + 1 / count)
        return float(areas.mean() + reach * areas.std(ddof=1))

    def _prepare(self) -> None:
        self._encoding = Encoding(self._fitted, self._features)
        self._sample = self._encoding(self._fitted["sample"].astype(np.float64))
        self._threshold = self._fitted["threshold"].astype(np.float64)

    def _names(self) -> Sequence[str]:
        return [""]

    def _thresholds(self) -> FloatArray:
        return self._threshold

    def _statistics(self, rows: FloatArray) -> FloatArray:
        return np.array([out_of_fold(self._sample, self._encoding(rows), self._options)])


class Encoding:
    """Rows as the classifier takes them: numbers standardised, missing ones at the mean, a column for each category."""

    def __init__(self, fitted: Arrays, features: Sequence[Feature]) -> None:
        self._centre = fitted["centre"].astype(np.float64)
        self._scale = fitted["scale"].astype(np.float64)
        if len(self._centre) != len(features):
            raise ValueError("domain_classifier: the arrays are of other features")
        self._features = tuple(features)

    def __call__(self, rows: FloatArray) -> FloatArray:
        columns: list[FloatArray] = []
        for at, feature in enumerate(self._features):
            column = rows[:, at]
            if feature.categories is None:
                standard = (column - self._centre[at]) / self._scale[at]
                columns.append(np.where(np.isfinite(column), standard, 0.0))
            else:
                columns += [(column == place).astype(np.float64) for place in range(len(feature.categories))]
        return np.column_stack(columns)


def out_of_fold(reference: FloatArray, window: FloatArray, options: Options) -> float:
    """The mean area under the ROC curve over the folds. Rows go to folds by turns, so nothing here is by chance."""
    from sklearn.metrics import roc_auc_score  # here: seconds of start-up that only who tests should pay

    folds = options.integer("folds", minimum=2)
    rows = np.vstack([reference, window])
    labels = np.repeat([0, 1], [len(reference), len(window)])
    fold = np.concatenate([np.arange(len(reference)), np.arange(len(window))]) % folds
    areas = []
    for turn in range(folds):
        inside = fold != turn
        model = classifier(options).fit(rows[inside], labels[inside])
        areas.append(roc_auc_score(labels[~inside], model.predict_proba(rows[~inside])[:, 1]))
    return float(np.mean(areas))


def classifier(options: Options) -> Any:
    if options.choice("classifier", CLASSIFIERS) == "logistic":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=0.1, max_iter=200, class_weight="balanced")
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=40, max_leaf_nodes=8, learning_rate=0.15, early_stopping=False, random_state=0
    )


def mann_whitney_bound(reference: int, window: int, folds: int, alpha: float) -> float:
    """The area that one fold of so many rows exceeds with the chance `alpha` without drift (normal limit of U)."""
    from scipy.stats import norm

    n, m = reference // folds, window // folds
    return float(0.5 + norm.isf(alpha) * np.sqrt((n + m + 1) / (12 * n * m)))
