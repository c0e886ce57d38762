# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Refusals are counted, and however many different ones there are, few are held."""

from __future__ import annotations

from mlops_runtime.lifecycle.ledger.refusals import Refusals


def test_a_flood_is_few_counts() -> None:
    refusals = Refusals()
    for number in range(10_000):
        refusals.add("alert", f"no model m-{number}")
    refusals.add("alert", "x" * 5000)
    assert len(refusals._counts) <= 101
    assert sum(refusals._counts.values()) == 10_001
