# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a cluster's API refuses, in words that a user can act upon."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .api import ApiError
from .kinds import Key

_RBAC = re.compile(
    r'(?:User|user) "(?P<user>[^"]*)" cannot (?P<verb>\S+) '
    r'resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)"| at the cluster scope)?'
)
_CONFLICT = re.compile(r'conflict with "(?P<owner>[^"]*)"')
FORCE = "set mlops_force_conflicts to take them over, or leave them to it"


def words(error: ApiError, key: Key | None = None) -> str:
    """One refusal. ``key``: the object that it was about."""
    denied = _RBAC.search(error.text) if error.status == 403 else None
    if denied is not None:
        return _right(denied)
    if error.status in (0, 401) or key is None:
        return error.message
    if conflicts(error):
        owners: dict[str, list[str]] = {}
        for field, owner in conflicts(error):
            owners.setdefault(owner, []).append(field)
        told = "; ".join(f"{', '.join(fields)} to {owner}" for owner, fields in sorted(owners.items()))
        return f"{key}: these fields belong to others: {told}: {FORCE}"
    text = error.text
    for before in (f'{key.name}" is forbidden: ', f'"{key.name}" is invalid: '):
        text = text.partition(before)[2] or text
    if "violates PodSecurity" in text:
        return f"{key}: Pod Security refuses it: {text}"
    if key.kind == "PersistentVolumeClaim":
        return _claim(text, key)
    return f"{key}: {text}"


def conflicts(error: ApiError) -> list[tuple[str, str]]:
    """Field and owner of each conflict of a server-side apply."""
    if error.status != 409:
        return []
    found = []
    for cause in error.causes:
        if cause.get("reason") == "FieldManagerConflict":
            owner = _CONFLICT.search(cause.get("message", ""))
            found.append((cause.get("field", "").removeprefix("."), owner["owner"] if owner else "somebody else"))
    return found


def immutable(error: ApiError) -> bool:
    """Whether the object would have to be made anew."""
    if error.status != 422:
        return False
    texts = [error.text, *(cause.get("message", "") for cause in error.causes)]
    return any("immutable" in text or "for fields other than" in text for text in texts)


def port_taken(error: ApiError) -> list[int]:
    """The node ports that another Service has."""
    return [int(port) for port in re.findall(r"(\d+): provided port is already allocated", error.text)]


def _right(denied: Mapping[str, Any] | re.Match[str]) -> str:
    resource = denied["resource"] + (f".{denied['group']}" if denied["group"] else "")
    where = f"in the namespace {denied['namespace']}" if denied["namespace"] else "in the whole cluster"
    return f"{denied['user']} may not {denied['verb']} {resource} {where}"


def _claim(text: str, key: Key) -> str:
    if "storageclass that provisions the pvc must support resize" in text or "can be resized" in text:
        return f"{key}: the volume can't grow: its storage class doesn't allow it ({text})"
    if "can not be less than" in text:
        return f"{key}: a volume can't shrink ({text})"
    if "immutable" in text:
        return f"{key}: a volume keeps its storage class and the rest of what it was made with: only its size may grow"
    return f"{key}: {text}"
