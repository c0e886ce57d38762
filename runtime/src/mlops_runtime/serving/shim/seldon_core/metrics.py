# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Helpers for a class's own metrics."""

from __future__ import annotations

from typing import Any

from mlops_runtime.serving.metrics import COUNTER, GAUGE, TIMER, validate_metrics

__all__ = ["COUNTER", "GAUGE", "TIMER", "create_counter", "create_gauge", "create_timer", "validate_metrics"]


def create_counter(key: str, value: float) -> dict[str, Any]:
    return _metric(key, COUNTER, value)


def create_gauge(key: str, value: float) -> dict[str, Any]:
    return _metric(key, GAUGE, value)


def create_timer(key: str, value: float) -> dict[str, Any]:
    return _metric(key, TIMER, value)


def _metric(key: str, kind: str, value: float) -> dict[str, Any]:
    value + 1  # a TypeError here is the caller's, as in Seldon's
    return {"key": key, "type": kind, "value": value}
