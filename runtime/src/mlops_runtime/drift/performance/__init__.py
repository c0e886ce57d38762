# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""How well a model does: from labels that arrive late, and estimated before they do. Numpy only."""

from mlops_runtime.drift.performance.join import Joined, LabelJoin
from mlops_runtime.drift.performance.monitor import PERFORMANCE, PerformanceMonitor

__all__ = ["PERFORMANCE", "Joined", "LabelJoin", "PerformanceMonitor"]
