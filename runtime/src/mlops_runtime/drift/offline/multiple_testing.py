# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""p-values of many features, corrected so that all of them together keep the level that one test would have."""

from __future__ import annotations

from typing import Final

import numpy as np

from mlops_runtime.drift.protocol import FloatArray

CORRECTIONS: Final = ("bonferroni", "fdr")


def adjusted(p_values: FloatArray, correction: str) -> FloatArray:
    """p-values, shape (m,), that are compared with alpha itself.

    `bonferroni`: the chance of any false alarm is at most alpha. `fdr` (Benjamini and Hochberg, J. R. Stat. Soc. B 57,
    1995): where no feature drifts the same (for features that are independent or positively dependent), and once some
    do, a smaller change in the others is found too.
    """
    count = len(p_values)
    if correction == "bonferroni":
        return np.minimum(1.0, p_values * count)
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * count / np.arange(1, count + 1)
    result = np.empty(count)
    result[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return result
