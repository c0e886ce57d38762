# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The seam: typed workloads; `backends` makes them so, and brings the targets' SDKs. Needs nothing from Ansible."""

from __future__ import annotations

from .base import Backend, Observed, ObservedTask, Outcome, Result
from .errors import WorkloadError
from .merge import declare, merge, override
from .model import Workload, parse, zones

__all__ = [
    "Backend",
    "Observed",
    "ObservedTask",
    "Outcome",
    "Result",
    "Workload",
    "WorkloadError",
    "declare",
    "merge",
    "override",
    "parse",
    "zones",
]
