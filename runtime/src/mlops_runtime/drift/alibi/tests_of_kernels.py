# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The library's multivariate tests of a window by permutation: MMDDrift and LSDDDrift, on PyTorch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlops_runtime.drift.alibi.complete_rows import CompleteRows
from mlops_runtime.drift.alibi.library import load, seeded
from mlops_runtime.drift.offline.detector import evidence
from mlops_runtime.drift.offline.parameters import Options, Schedule
from mlops_runtime.drift.protocol import Arrays, FloatArray, Reference


class KernelDrift(CompleteRows):
    """The statistic is -log10 of the permutation test's p-value.

    The permutations are drawn from the number of the row at which the test is due, so a restart draws the same.
    """

    defaults = {"permutations": 200, "reference_rows": 1000}

    @classmethod
    def _fit(cls, reference: Reference, options: Options) -> Arrays:
        alpha = cls._significance(options, Schedule.read(options))
        assert alpha is not None
        permutations = options.integer("permutations", minimum=20)
        if alpha * (permutations + 1) <= 1:
            raise options.wrong("permutations", f"{int(np.ceil(1 / alpha))} or more, or no p-value is below {alpha:g}")
        cls._library()
        return {**super()._fit(reference, options), "seed": np.array([reference.seed], dtype=np.int64)}

    @classmethod
    @abstractmethod
    def _library(cls) -> Any: ...

    def _prepare(self) -> None:
        self._permutations = self._options.integer("permutations", minimum=20)
        self._seed = int(self._fitted["seed"][0])
        with seeded(self._seed):
            self._test = self._made(self._fitted["sample"].astype(np.float32))

    @abstractmethod
    def _made(self, sample: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Any: ...

    def _names(self) -> Sequence[str]:
        return [""]

    def _thresholds(self) -> FloatArray:
        assert self._alpha is not None
        return evidence(np.array([self._alpha]))

    def _statistics(self, rows: FloatArray) -> FloatArray:
        with seeded(self._seed + self._window.total):
            share, _, _ = self._test.score(rows.astype(np.float32))
        # The window as it is counts as one of its permutations, or p could be 0 (Phipson and Smyth 2010).
        count = self._permutations
        return evidence(np.array([(share * count + 1) / (count + 1)]))


class MMDDrift(KernelDrift):
    kind = "alibi:mmd"

    @classmethod
    def _library(cls) -> Any:
        return load("alibi_detect.cd.pytorch.mmd", cls.kind)

    def _made(self, sample: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Any:
        return self._library().MMDDriftTorch(sample, p_val=self._alpha, n_permutations=self._permutations, device="cpu")


class LSDDDrift(KernelDrift):
    kind = "alibi:lsdd"

    @classmethod
    def _library(cls) -> Any:
        return load("alibi_detect.cd.pytorch.lsdd", cls.kind)

    def _made(self, sample: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Any:
        return self._library().LSDDDriftTorch(
            sample, p_val=self._alpha, n_permutations=self._permutations, device="cpu"
        )
