# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The seam: typed workloads, and the backends that make them so. Needs nothing from Ansible."""

from __future__ import annotations

from .errors import WorkloadError
from .merge import declare, merge, override
from .model import Workload, parse, zones

__all__ = ["Workload", "WorkloadError", "declare", "merge", "override", "parse", "zones"]
