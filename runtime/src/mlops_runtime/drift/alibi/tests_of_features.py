# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The library's tests of single features: KSDrift, CVMDrift, ChiSquareDrift, TabularDrift."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlops_runtime.drift.alibi.complete_rows import CompleteRows
from mlops_runtime.drift.alibi.library import load
from mlops_runtime.drift.offline.detector import evidence
from mlops_runtime.drift.offline.multiple_testing import CORRECTIONS, adjusted
from mlops_runtime.drift.offline.parameters import Options
from mlops_runtime.drift.protocol import Arrays, FloatArray, Reference, UnfitReference


class FeatureDrift(CompleteRows):
    """The statistic is -log10 of the feature's p-value, corrected for their number."""

    defaults = {"correction": "bonferroni", "reference_rows": 2000}

    @classmethod
    def _fit(cls, reference: Reference, options: Options) -> Arrays:
        options.choice("correction", CORRECTIONS)
        cls._library()
        fitted = super()._fit(reference, options)
        columns = cls._columns(reference)
        if not columns:
            raise UnfitReference(f"{cls.kind}: none of the features is of the kind that it tests")
        return {**fitted, "columns": np.array(columns, dtype=np.int64)}

    @classmethod
    def _columns(cls, reference: Reference) -> list[int]:
        return [at for at, feature in enumerate(reference.features) if not feature.is_categorical]

    @classmethod
    def _library(cls) -> Any:
        return load("alibi_detect.cd", cls.kind)

    def _prepare(self) -> None:
        self._correction = self._options.choice("correction", CORRECTIONS)
        self._columns_tested: list[int] = self._fitted["columns"].tolist()
        self._sample = self._fitted["sample"].astype(np.float64)[:, self._columns_tested]
        self._test = self._made()

    @abstractmethod
    def _made(self) -> Any:
        """The library's detector of the sample."""

    def _names(self) -> Sequence[str]:
        return [self._features[at].name for at in self._columns_tested]

    def _thresholds(self) -> FloatArray:
        assert self._alpha is not None
        return evidence(np.full(len(self._columns_tested), self._alpha))

    def _statistics(self, rows: FloatArray) -> FloatArray:
        p_values, _ = self._test.feature_score(self._sample, rows[:, self._columns_tested])
        return evidence(adjusted(np.asarray(p_values, dtype=np.float64), self._correction))

    def _categories(self) -> dict[int, list[int]]:
        """Place of each categorical column that is tested -> the places of its categories."""
        return {
            place: list(range(len(self._features[at].categories or ())))
            for place, at in enumerate(self._columns_tested)
            if self._features[at].is_categorical
        }


class KSDrift(FeatureDrift):
    kind = "alibi:ksdrift"

    def _made(self) -> Any:
        return self._library().KSDrift(self._sample, p_val=self._alpha)


class CVMDrift(FeatureDrift):
    kind = "alibi:cvmdrift"

    def _made(self) -> Any:
        return self._library().CVMDrift(self._sample, p_val=self._alpha)


class ChiSquareDrift(FeatureDrift):
    kind = "alibi:chisquare"

    @classmethod
    def _columns(cls, reference: Reference) -> list[int]:
        return [at for at, feature in enumerate(reference.features) if feature.is_categorical]

    def _made(self) -> Any:
        return self._library().ChiSquareDrift(
            self._sample, p_val=self._alpha, categories_per_feature=self._categories()
        )


class TabularDrift(FeatureDrift):
    kind = "alibi:tabular"

    @classmethod
    def _columns(cls, reference: Reference) -> list[int]:
        return list(range(len(reference.features)))

    def _made(self) -> Any:
        categories = self._categories()
        if not categories:
            return self._library().KSDrift(self._sample, p_val=self._alpha)
        return self._library().TabularDrift(self._sample, p_val=self._alpha, categories_per_feature=categories)
