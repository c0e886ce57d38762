# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The seam: typed workloads; `backends` makes them so, and brings the targets' SDKs. Needs nothing from Ansible."""

from __future__ import annotations

from .base import Backend, LogLine, Observed, ObservedTask, Outcome, Result, Run
from .errors import WorkloadError
from .merge import declare, merge, override
from .model import Workload, parse, zones

__all__ = [
    "Backend",
    "LogLine",
    "Observed",
    "ObservedTask",
    "Outcome",
    "Result",
    "Run",
    "Workload",
    "WorkloadError",
    "declare",
    "merge",
    "override",
    "parse",
    "zones",
]
