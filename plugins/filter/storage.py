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


def database_grants(
    users: Iterable[Mapping[str, str]], names: Mapping[str, str], user_names: Mapping[str, str]
) -> list[dict[str, str]]:
    """Who uses which database, under the names that the site wants; the keys keep the platform's own."""
    return [
        {
            **user,
            "database_key": user["database"],
            "database": names.get(user["database"]) or user["database"],
            "user_key": user["user"],
            "user": user_names.get(user["user"]) or user["user"],
        }
        for user in users
    ]


def database_jobs(grants: Iterable[Mapping[str, str]], base: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By component: the job that makes its databases and users."""
    found: dict[str, list[Mapping[str, str]]] = {}
    for grant in grants:
        found.setdefault(grant["component"], []).append(grant)
    return {
        component: _merged(
            base,
            {
                "env": {"MLOPS_DATABASES": "\n".join(map(_line, own))},
                "secrets": [{"name": name} for name in dict.fromkeys(grant["secret"] for grant in own)],
            },
        )
        for component, own in found.items()
    }


def _line(grant: Mapping[str, str]) -> str:
    return " ".join(grant[key] for key in ("database", "user", "secret", "rights"))


def bucket_grants(identities: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> list[dict[str, str]]:
    """Who uses which bucket, under the names that the site wants; the key keeps the platform's own."""
    return [
        {
            "component": identity["name"],
            "key": bucket,
            "name": names.get(bucket) or bucket,
            "access_secret": identity["access_key"],
            "secret_secret": identity["secret_key"],
        }
        for identity in identities
        for bucket in identity["buckets"]
    ]


def bucket_jobs(
    buckets: Iterable[Mapping[str, str]], base: Mapping[str, Any], own_keys: bool
) -> dict[str, dict[str, Any]]:
    """By component: the job that makes its bucket, with the component's own keys or those of ``base``."""
    found = {}
    for bucket in buckets:
        own: dict[str, Any] = {"args": [bucket["name"]]}
        if own_keys:
            names = bucket["access_secret"], bucket["secret_secret"]
            files = [f"/run/secrets/{name}" for name in names]
            own["env"] = {"AWS_ACCESS_KEY_ID_FILE": files[0], "AWS_SECRET_ACCESS_KEY_FILE": files[1]}
            own["secrets"] = [{"name": name} for name in names]
        found[bucket["component"]] = _merged(base, own)
    return found


def with_secrets(items: Iterable[Mapping[str, Any]], values: Mapping[str, str], **fields: str) -> list[dict[str, Any]]:
    """Each item with the values of secrets: ``fields`` says which field gets the value that which field names."""
    return [{**item, **{field: values.get(item[name], "") for field, name in fields.items()}} for item in items]


def data_labels(grants: Iterable[Mapping[str, str]], slot: str, place: str, field: str) -> dict[str, dict[str, str]]:
    """By component: the label that says where its data are; ``field`` has the names of what holds them there."""
    found: dict[str, list[str]] = {}
    for grant in grants:
        found.setdefault(grant["component"], []).append(grant[field])
    return {component: {slot: f"{place}/{','.join(dict.fromkeys(names))}"} for component, names in found.items()}


def data_elsewhere(deployed: Iterable[Mapping[str, Any]], labels: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Names of the workloads that run with data in another place than their component's label says."""
    return [
        workload["name"]
        for workload in deployed
        for slot, place in labels.get(workload["name"], {}).items()
        if workload.get("labels", {}).get(slot, place) != place
    ]


class FilterModule:
    """Filters about storage."""

    def filters(self) -> dict[str, Any]:
        return {
            "based_on": based_on,
            "bucket_grants": bucket_grants,
            "bucket_jobs": bucket_jobs,
            "data_elsewhere": data_elsewhere,
            "data_labels": data_labels,
            "database_grants": database_grants,
            "database_jobs": database_jobs,
            "s3_config": s3_config,
            "with_secrets": with_secrets,
        }
