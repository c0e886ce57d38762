# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that roles declare and check their workloads with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.onprem.plugins.module_utils._workload import (
    WorkloadError,
    declare,
    override,
    parse,
)


def problems(checks: Any) -> list[str]:
    """The messages of those checks ({ok, message}) that don't hold. A string counts as a message itself."""
    if not isinstance(checks, Sequence) or isinstance(checks, str):
        raise AnsibleFilterError("mlops.onprem.problems takes a list of {ok, message}")
    found = []
    for index, check in enumerate(checks):
        if isinstance(check, str):
            found.append(str(check))
        elif not isinstance(check, Mapping) or "ok" not in check or "message" not in check:
            raise AnsibleFilterError(f"mlops.onprem.problems: check {index} is not a mapping with ok and message")
        elif not check["ok"]:
            found.append(str(check["message"]))
    return found


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


class FilterModule:
    """Filters about workloads."""

    def filters(self) -> dict[str, Any]:
        return {
            "declare_workloads": declare_workloads,
            "problems": problems,
            "workload_problems": workload_problems,
        }
