# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Which kinds of detector there are. A kind's module is imported when one of it is wanted, and not before: whoever
watches with numpy alone never pays for scipy."""

from __future__ import annotations

import importlib
from typing import Final, cast

from mlops_runtime.drift.protocol import Detector

_OFFLINE: Final = "mlops_runtime.drift.offline"
KINDS: Final[dict[str, str]] = {
    "ewma": "mlops_runtime.drift.online.ewma:Ewma",
    "rff": "mlops_runtime.drift.online.rff:Rff",
    "ks": f"{_OFFLINE}.univariate:KolmogorovSmirnovDetector",
    "cvm": f"{_OFFLINE}.univariate:CramerVonMisesDetector",
    "chi2": f"{_OFFLINE}.univariate:ChiSquaredDetector",
    "tabular": f"{_OFFLINE}.univariate:TabularDetector",
    "psi": f"{_OFFLINE}.psi:PopulationStability",
    "domain_classifier": f"{_OFFLINE}.domain_classifier:DomainClassifier",
}
"""Kind -> module:class."""

ALIBI: Final = "alibi:"
_ALIBI_PROVIDER: Final = "mlops_runtime.drift.alibi:detector_class"


def detector_class(kind: str) -> type[Detector]:
    """The class of a kind. Raises ValueError that names it where there is none, or where its library isn't here."""
    target = _ALIBI_PROVIDER if kind.startswith(ALIBI) else KINDS.get(kind)
    if target is None:
        raise ValueError(f"there is no detector {kind!r}; known are {', '.join([*KINDS, f'{ALIBI}<name>'])}")
    module, _, name = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ValueError(f"the detector {kind!r} can't be used here: {error}") from error
    return cast("type[Detector]", found(kind.removeprefix(ALIBI)) if kind.startswith(ALIBI) else found)
