# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that roles declare their workloads with."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.onprem.plugins.module_utils._workload import (
    WorkloadError,
    declare,
    override,
    parse,
)


def declare_workloads(known: Any, more: Any, overrides: Any = None) -> list[dict[str, Any]]:
    """The known workloads and more of them, those with overrides merged over them."""
    try:
        return declare(known or [], override(more or [], overrides))
    except WorkloadError as error:
        raise AnsibleFilterError(str(error)) from error


def workload_problems(workloads: Any) -> list[str]:
    """What is wrong with the declarations, each problem with the path of its field."""
    try:
        parse(workloads or [])
    except WorkloadError as error:
        return error.problems or [error.message]
    return []
