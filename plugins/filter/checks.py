# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that check the variables of the whole platform. They make lists of {ok, message}."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def provider_checks(
    slots: Mapping[str, list[str]], chosen: Mapping[str, str], variables: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Whether each slot's provider is one that there is, and whether each named slot is one."""
    checks: list[dict[str, Any]] = []
    for slot, providers in slots.items():
        found = chosen.get(slot)
        checks.append(
            {
                "ok": found in providers,
                "message": f"mlops_{slot}_provider: this release has no provider '{found}'; "
                f"set {' or '.join(providers)}, or leave it out",
            }
        )
    for name in sorted(variables):
        slot = name.removeprefix("mlops_").removesuffix("_provider")
        if name == f"mlops_{slot}_provider" and slot not in slots:
            checks.append({"ok": False, "message": f"{name}: this release has no slot '{slot}'; leave it out"})
    return checks


def removed_checks(removed: Mapping[str, Mapping[str, str]], variables: Iterable[str]) -> list[dict[str, Any]]:
    """Whether variables are still set that went with a release; ``removed``: name -> release, instead."""
    present = set(variables)
    return [
        {"ok": name not in present, "message": f"{name}: went with release {info['release']}; {info['instead']}"}
        for name, info in removed.items()
    ]


class FilterModule:
    """Filters about the platform's variables."""

    def filters(self) -> dict[str, Any]:
        return {"provider_checks": provider_checks, "removed_checks": removed_checks}
