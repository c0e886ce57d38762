# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that roles declare and check their workloads with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.onprem.plugins.plugin_utils.late import late


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


class FilterModule:
    """Filters about workloads."""

    def filters(self) -> dict[str, Any]:
        return {"problems": problems, **late("workload_filters", "declare_workloads", "workload_problems")}
