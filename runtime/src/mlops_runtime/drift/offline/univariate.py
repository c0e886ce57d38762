# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A two-sample test for each feature: Kolmogorov-Smirnov, Cramér-von Mises, chi-squared, and the two together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

import numpy as np

from mlops_runtime.drift.offline.categories import CategoryCounts
from mlops_runtime.drift.offline.detector import WindowDetector, evidence, sample
from mlops_runtime.drift.offline.multiple_testing import CORRECTIONS, adjusted
from mlops_runtime.drift.offline.parameters import Options
from mlops_runtime.drift.protocol import Arrays, FloatArray, Reference, UnfitReference

MINIMUM_VALUES: Final = 5
"""Of a feature in a window. With fewer it isn't tested: its missing ratio tells that story."""


class FeatureTests(WindowDetector):
    """One p-value a feature, corrected for their number. The statistic is -log10(corrected p)."""

    defaults = {"correction": "bonferroni"}

    @classmethod
    def _columns(cls, reference: Reference) -> tuple[list[int], list[int]]:
        """The numeric and the categorical columns that it looks at."""
        numeric = [at for at, feature in enumerate(reference.features) if not feature.is_categorical]
        categorical = [at for at, feature in enumerate(reference.features) if feature.is_categorical]
        return numeric, categorical

    @classmethod
    def _fit(cls, reference: Reference, options: Options) -> Arrays:
        options.choice("correction", CORRECTIONS)
        numeric, categorical = cls._columns(reference)
        if not numeric and not categorical:
            raise UnfitReference(f"{cls.kind}: none of the features is of the kind that it tests")
        present = np.isfinite(reference.rows).sum(axis=0)
        for at in numeric + categorical:
            if present[at] < MINIMUM_VALUES:
                raise UnfitReference(f"{cls.kind}: {reference.features[at].name} has {present[at]} values")
        kept = sample(reference.rows[:, numeric], options.integer("reference_rows", minimum=100), reference.seed)
        return {
            "numeric": np.array(numeric, dtype=np.int64),
            "categorical": np.array(categorical, dtype=np.int64),
            # Column by column: the tests need no more, and a row of the training data can't be read back.
            "sample": np.sort(kept, axis=0),
            **CategoryCounts.count(reference.rows[:, categorical], [reference.features[at] for at in categorical]),
        }

    def _prepare(self) -> None:
        self._correction = self._options.choice("correction", CORRECTIONS)
        self._numeric: list[int] = self._fitted["numeric"].tolist()
        self._categorical: list[int] = self._fitted["categorical"].tolist()
        kept = self._fitted["sample"].astype(np.float64)
        self._samples = [column[np.isfinite(column)] for column in kept.T]
        self._counts = CategoryCounts(
            self._fitted, [self._features[at] for at in self._categorical], self._schedule.window
        )

    def _names(self) -> Sequence[str]:
        return [self._features[at].name for at in self._numeric + self._categorical]

    def _thresholds(self) -> FloatArray:
        assert self._alpha is not None
        return evidence(np.full(len(self._numeric) + len(self._categorical), self._alpha))

    def _statistics(self, rows: FloatArray) -> FloatArray:
        p_values = [
            self._compare(kept, values) if len(values) >= MINIMUM_VALUES else 1.0
            for kept, values in zip(self._samples, map(present, rows[:, self._numeric].T), strict=True)
        ]
        p_values += [
            self._counts.p_value(place, values) if len(values) >= MINIMUM_VALUES else 1.0
            for place, values in enumerate(map(present, rows[:, self._categorical].T))
        ]
        return evidence(adjusted(np.array(p_values), self._correction))

    @abstractmethod
    def _compare(self, kept: FloatArray, values: FloatArray) -> float:
        """The p-value of two samples of a number."""


def present(column: FloatArray) -> FloatArray:
    values: FloatArray = column[np.isfinite(column)]
    return values


class TabularDetector(FeatureTests):
    """Kolmogorov-Smirnov for numbers, chi-squared for categories: every feature of a table is tested."""

    kind = "tabular"

    def _compare(self, kept: FloatArray, values: FloatArray) -> float:
        from scipy.stats import ks_2samp  # here: a second of start-up that only who tests should pay

        # The limiting distribution: the exact one takes twice as long, and p differs by a few per cent of itself.
        return float(ks_2samp(kept, values, method="asymp").pvalue)


class KolmogorovSmirnovDetector(TabularDetector):
    """The largest distance between the two distribution functions, for each number."""

    kind = "ks"

    @classmethod
    def _columns(cls, reference: Reference) -> tuple[list[int], list[int]]:
        return super()._columns(reference)[0], []


class CramerVonMisesDetector(KolmogorovSmirnovDetector):
    """The squared distance between the two distribution functions, for each number: better in the tails."""

    kind = "cvm"

    def _compare(self, kept: FloatArray, values: FloatArray) -> float:
        from scipy.stats import cramervonmises_2samp

        return float(cramervonmises_2samp(kept, values, method="asymptotic").pvalue)


class ChiSquaredDetector(TabularDetector):
    """Pearson's chi-squared for each category."""

    kind = "chi2"

    @classmethod
    def _columns(cls, reference: Reference) -> tuple[list[int], list[int]]:
        return [], super()._columns(reference)[1]
