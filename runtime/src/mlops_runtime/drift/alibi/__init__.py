# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Alibi Detect's detectors (0.11.4, the last under Apache-2.0) behind our protocol; kinds `alibi:<name>`.

What is guarded (see the measurements in docs/drift-offline.md):
- Its `load_detector` unpickles, and runs the constructor's bootstraps again. Neither is used: an artefact holds
  numbers, and thresholds that were found at training are put back.
- Its restored state meets another random split of the reference. Here the split belongs to the artefact.
- Its `predict` keeps every statistic for ever. Here `score` is called, which keeps its window alone.
- A missing value silences a kernel for a whole window. Here a row with one is skipped, and counted.
"""

from __future__ import annotations

import importlib
from typing import Final, cast

from mlops_runtime.drift.protocol import Detector

_TESTS: Final = "mlops_runtime.drift.alibi.tests_of_features"
_KERNELS: Final = "mlops_runtime.drift.alibi.tests_of_kernels"
_ONLINE: Final = "mlops_runtime.drift.alibi.online"
NAMES: Final[dict[str, str]] = {
    "ksdrift": f"{_TESTS}:KSDrift",
    "cvmdrift": f"{_TESTS}:CVMDrift",
    "chisquare": f"{_TESTS}:ChiSquareDrift",
    "tabular": f"{_TESTS}:TabularDrift",
    "mmd": f"{_KERNELS}:MMDDrift",
    "lsdd": f"{_KERNELS}:LSDDDrift",
    "mmd_online": f"{_ONLINE}:MMDDriftOnline",
    "lsdd_online": f"{_ONLINE}:LSDDDriftOnline",
}
"""Name -> module:class."""


def detector_class(name: str) -> type[Detector]:
    """The class of `alibi:<name>`; whether the library is there is found when one is fitted or loaded.

    Raises `ValueError` for another name.
    """
    if name not in NAMES:
        raise ValueError(f"Alibi Detect has no {name!r} here; there are {', '.join(sorted(NAMES))}")
    module, _, attribute = NAMES[name].partition(":")
    return cast("type[Detector]", getattr(importlib.import_module(module), attribute))
