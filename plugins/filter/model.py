# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters from the declared models to what is registered, built and served."""

from __future__ import annotations

from typing import Any

from ansible_collections.mlops.onprem.plugins.plugin_utils.late import late


class FilterModule:
    """Filters about models."""

    def filters(self) -> dict[str, Any]:
        return late(
            "model_filters",
            "model_alert_groups",
            "model_deployments",
            "model_images",
            "model_lagging",
            "model_plan",
            "model_problems",
            "model_served",
            "model_summary",
            "model_topics",
            "model_unbuilt",
            "model_undeclared",
            "model_workloads",
        )
