# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that make the platform's dashboards fit where they go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

OWN = "mlops"
"""The platform's name that the files have."""
LEDGER = f"{OWN}-ledger"


def grafana_dashboard(text: str, platform: str, ledger: bool = True) -> dict[str, Any]:
    """A dashboard of the collection, with the uids of a platform of that name; without what asks the ledger where there
    is no way to it."""
    found: dict[str, Any] = json.loads(text)
    if not ledger:
        found["panels"] = _without_ledger(found["panels"])
    renamed: dict[str, Any] = _renamed(found, platform)
    return renamed


def _without_ledger(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row above nothing goes, too."""
    kept = [panel for panel in panels if (panel.get("datasource") or {}).get("uid") != LEDGER]
    following = pairwise([*kept, {"type": "row"}])
    return [one for one, after in following if (one["type"], after["type"]) != ("row", "row")]


def _renamed(value: Any, platform: str) -> Any:
    if isinstance(value, Mapping):
        return {
            key: f"{platform}{one[len(OWN) :]}"
            if key == "uid" and isinstance(one, str) and one.startswith(f"{OWN}-")
            else _renamed(one, platform)
            for key, one in value.items()
        }
    return [_renamed(one, platform) for one in value] if isinstance(value, list) else value


class FilterModule:
    """Filters about Grafana."""

    def filters(self) -> dict[str, Any]:
        return {"grafana_dashboard": grafana_dashboard}
