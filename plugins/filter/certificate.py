# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that look at a certificate before it is used, and at what of it others may see."""

from __future__ import annotations

from typing import Any

from ansible_collections.mlops.onprem.plugins.plugin_utils.late import late


class FilterModule:
    """Filters about certificates."""

    def filters(self) -> dict[str, Any]:
        return late("certificate_filters", "certificate_of", "certificate_problems")
