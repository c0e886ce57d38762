# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters about the lifecycle controller."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def lifecycle_clients(own: Any, secret_values: Any, clients: Any = None) -> str:
    """The controller's file of clients: `own` name their secrets; the site's `clients` (name: rights) have theirs in
    lifecycle_password_<name>."""
    wanted = {name: (client["may"], client["secret"]) for name, client in own.items()}
    wanted |= {name: (may, f"lifecycle_password_{name}") for name, may in (clients or {}).items()}
    found = {}
    for name, (may, secret) in wanted.items():
        if not secret_values.get(secret):
            raise AnsibleFilterError(
                f"lifecycle_clients.{name}: there is no secret {secret}: "
                "add it to secrets_extra, or set it in mlops_secrets"
            )
        found[str(name)] = {"may": list(may), "secret": str(secret_values[secret])}
    return json.dumps(found, sort_keys=True)


def egress_places(egress: Iterable[Mapping[str, Any]]) -> list[str]:
    """Where a workload's egress leads, as the agent's rights name it: host:port."""
    return [f"{place['host']}:{place['port']}" for place in egress]


class FilterModule:
    """Filters about the lifecycle controller."""

    def filters(self) -> dict[str, Any]:
        return {"egress_places": egress_places, "lifecycle_clients": lifecycle_clients}
