# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the prediction stream's brokers, and of those who use them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

_MILLISECONDS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_RETENTION = re.compile(r"^([1-9][0-9]*)([mhd])$")
_ADDRESS = re.compile(r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):([0-9]{1,5})$")


def broker_workloads(names: Sequence[str], base: Mapping[str, Any], env: Mapping[str, str]) -> list[dict[str, Any]]:
    """One workload a broker, each of which knows its own name and talks to all the others."""
    return [
        {
            **base,
            "name": name,
            "env": {**env, "KAFKA_NAME": name, "KAFKA_BROKERS": ",".join(names)},
            "connects": [other for other in names if other != name],
        }
        for name in names
    ]


def broker_accounts(users: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each user with the name of the secret that holds its password, and where the job that makes it finds that."""
    return [
        {
            "name": user["name"],
            "secret": _secret(user["name"]),
            "password_file": f"/run/secrets/{_secret(user['name'])}",
            "grants": list(user.get("grants") or []),
        }
        for user in users
    ]


def broker_logins(clients: Iterable[str], names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """By client of the platform: its user, under the name that the site wants, and how its container logs in."""
    return {
        client: {
            "key": client,
            "username": names.get(client) or client,
            "secret": _secret(client),
            "env": {
                "MLOPS_BROKER_USERNAME": names.get(client) or client,
                "MLOPS_BROKER_PASSWORD_FILE": f"/run/secrets/{_secret(client)}",
            },
            "secrets": [{"name": _secret(client)}],
        }
        for client in clients
    }


def broker_job(
    base: Mapping[str, Any], topics: Iterable[Mapping[str, Any]], accounts: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The job that makes users and topics; none where there are none. ``accounts`` empty: users are the site's."""
    topics = list(topics)
    if not base or (not accounts and not topics):
        return []
    env = {"MLOPS_TOPICS": json.dumps(topics, sort_keys=True)}
    if accounts:
        keys = ("name", "password_file", "grants")
        env["MLOPS_USERS"] = json.dumps([{key: account[key] for key in keys} for account in accounts], sort_keys=True)
    secrets = [*base.get("secrets", []), *({"name": account["secret"]} for account in accounts)]
    return [
        {**base, "name": "kafka-topics", "zone": "stream", "env": {**base.get("env", {}), **env}, "secrets": secrets}
    ]


def broker_addresses(bootstrap: str) -> list[dict[str, Any]]:
    """Hosts and ports of a list with commas; what is neither is left out."""
    found = (_ADDRESS.match(part.strip()) for part in bootstrap.split(","))
    return [{"host": match[1].strip("[]"), "port": int(match[2])} for match in found if match]


def retention_ms(text: str) -> str:
    """Kafka's retention.ms of ``30m``, ``12h``, ``7d`` or ``forever``."""
    if text == "forever":
        return "-1"
    match = _RETENTION.match(str(text))
    if not match:
        raise AnsibleFilterError(f"mlops.onprem.retention_ms: {text!r} is no time such as 30m, 12h, 7d or forever")
    return str(int(match[1]) * _MILLISECONDS[match[2]])


def _secret(user: str) -> str:
    return f"kafka_{user}_password"


class FilterModule:
    """Filters about the broker."""

    def filters(self) -> dict[str, Any]:
        return {
            "broker_accounts": broker_accounts,
            "broker_addresses": broker_addresses,
            "broker_job": broker_job,
            "broker_logins": broker_logins,
            "broker_workloads": broker_workloads,
            "retention_ms": retention_ms,
        }
