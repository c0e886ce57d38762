# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a field manager has applied, read back from a live object: the way back to it.

Managed fields are a tree whose keys are `f:` a field, `k:` the item of a list by its keys, `v:` the item of a set,
`i:` an item by its index, `.` the thing itself (structured-merge-diff, fieldpath).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from .site import MANAGER


def applied(thing: Mapping[str, Any], manager: str = MANAGER) -> dict[str, Any] | None:
    """The last intent that the manager applied, as a manifest; None if it never did."""
    for entry in thing["metadata"].get("managedFields") or []:
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            found = _owned(thing, entry.get("fieldsV1") or {})
            metadata = {**found.get("metadata", {}), "name": thing["metadata"]["name"]}
            if thing["metadata"].get("namespace"):
                metadata["namespace"] = thing["metadata"]["namespace"]
            return {**found, "apiVersion": thing["apiVersion"], "kind": thing["kind"], "metadata": metadata}
    return None


def is_ours(thing: Mapping[str, Any], manager: str = MANAGER) -> bool:
    return applied(thing, manager) is not None


def _owned(value: Any, fields: Mapping[str, Any]) -> Any:
    if not fields:
        return deepcopy(value)
    if isinstance(value, Mapping):
        return {
            name[2:]: _owned(value[name[2:]], below)
            for name, below in fields.items()
            if name.startswith("f:") and name[2:] in value
        }
    if isinstance(value, list):
        return _items(value, fields)
    return value


def _items(value: list[Any], fields: Mapping[str, Any]) -> list[Any]:
    """In the order in which they are there."""
    found = []
    for index, item in enumerate(value):
        for name, below in fields.items():
            what, _colon, text = name.partition(":")
            if what == "k":
                keys = json.loads(text)
                if isinstance(item, Mapping) and all(item.get(key) == content for key, content in keys.items()):
                    found.append({**keys, **_owned(item, below)})
                    break
            elif (what == "v" and item == json.loads(text)) or (what == "i" and index == int(text)):
                found.append(deepcopy(item) if what == "v" else _owned(item, below))
                break
    return found
