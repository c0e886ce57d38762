# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The seam: typed workloads, and the backends that make them so. Needs nothing from Ansible."""

from __future__ import annotations

from .backends import TARGETS, backend
from .base import Backend, Observed, ObservedTask, Outcome, Result
from .errors import WorkloadError
from .merge import declare, merge, override
from .model import Workload, parse, zones

__all__ = [
    "TARGETS",
    "Backend",
    "Observed",
    "ObservedTask",
    "Outcome",
    "Result",
    "Workload",
    "WorkloadError",
    "backend",
    "declare",
    "merge",
    "override",
    "parse",
    "zones",
]
