# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the database and the object store, and of those who use them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

BUCKET_ACTIONS = ("Read", "Write", "List", "Tagging")
ALL_ACTIONS = ("Admin", *BUCKET_ACTIONS)


def s3_config(identities: Iterable[Mapping[str, Any]], secrets: Mapping[str, str]) -> str:
    """SeaweedFS's file of identities. One without ``buckets`` administers the store, others use their buckets."""

    def secret(identity: Mapping[str, Any], key: str) -> str:
        try:
            return secrets[identity[key]]
        except KeyError as error:
            raise AnsibleFilterError(
                f"mlops.onprem.s3_config: identity {identity.get('name')}: {key} {error} is not there"
            ) from None

    return json.dumps(
        {
            "identities": [
                {
                    "name": identity["name"],
                    "credentials": [
                        {"accessKey": secret(identity, "access_key"), "secretKey": secret(identity, "secret_key")}
                    ],
                    "actions": [f"{action}:{bucket}" for bucket in identity["buckets"] for action in BUCKET_ACTIONS]
                    if identity.get("buckets")
                    else list(ALL_ACTIONS),
                }
                for identity in identities
            ]
        },
        sort_keys=True,
    )


def based_on(workloads: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each workload merged over its ``base``; one whose base is empty is left out."""
    found = []
    for workload in workloads:
        own = {key: value for key, value in workload.items() if key != "base"}
        if "base" not in workload:
            found.append(own)
        elif workload["base"]:
            found.append(_merged(workload["base"], own))
    return found


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in own.items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            result[key] = _merged(below, value)
        elif isinstance(below, list) and isinstance(value, list):
            result[key] = [*below, *value]
        else:
            result[key] = value
    return result


class FilterModule:
    """Filters about storage."""

    def filters(self) -> dict[str, Any]:
        return {"based_on": based_on, "s3_config": s3_config}
