# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter that makes the template of a work pool whose runs are jobs of the cluster."""

from __future__ import annotations

import copy
from typing import Any

from ansible.errors import AnsibleFilterError


def cluster_pool(template: Any, platform: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """`platform`: what every run has and no deployment changes; `defaults`: of variables, which deployments may set."""
    found: dict[str, Any] = copy.deepcopy(template)
    configuration, variables = found["job_configuration"], found["variables"]["properties"]
    unknown = sorted(set(platform) - set(configuration)) + sorted(set(defaults) - set(variables))
    if unknown:
        raise AnsibleFilterError(f"mlops.onprem.cluster_pool: the template has no {', '.join(unknown)}")
    configuration.update(platform)
    for name, value in defaults.items():
        variables[name]["default"] = value
    return found


class FilterModule:
    """Filters about the pipeline server."""

    def filters(self) -> dict[str, Any]:
        return {"cluster_pool": cluster_pool}
