# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The Alibi Detect provider where the library isn't: its names, and what it says."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from mlops_runtime.drift.alibi import NAMES, detector_class
from mlops_runtime.drift.alibi.library import seeded
from mlops_runtime.drift.protocol import Feature, Reference

FEATURES = (Feature("a"), Feature("b", ("x", "y")))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_name_has_its_class_and_says_what_it_needs(name: str) -> None:
    kind = detector_class(name)
    assert kind.kind == f"alibi:{name}"
    if importlib.util.find_spec("alibi_detect"):
        pytest.skip("the library is here")
    rows = np.column_stack([np.random.default_rng(0).normal(size=600), np.tile([0.0, 1.0], 300)])
    parameters = {} if name.endswith("_online") else {"window": 100, "p_value": 0.01}
    with pytest.raises(
        ValueError, match=rf"alibi:{name} needs Alibi Detect 0\.11\.4 .* drift_detector_alibi: true has the service run"
    ):
        kind.fit(Reference(rows, FEATURES), parameters)


def test_another_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no 'spot_the_diff' here; there are chisquare"):
        detector_class("spot_the_diff")


def test_chance_inside_is_repeatable_and_outside_untouched() -> None:
    np.random.seed(1)
    expected = np.random.random(2).tolist()
    np.random.seed(1)
    first = np.random.random()
    with seeded(7):
        inside = np.random.random()
    with seeded(7):
        assert np.random.random() == inside
    assert [first, np.random.random()] == expected
