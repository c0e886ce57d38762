# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Bends declared workloads by a site's overrides. Works on plain data, before anything is parsed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .errors import WorkloadError

# The lists whose items have a name of their own: an override of one item leaves the others alone.
KEYS = {
    "configs": "path",
    "secrets": "name",
    "ports": "name",
    "routes": "name",
    "volumes": "name",
    "scratch": "path",
    "jobs": "name",
}


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged, lists of named items are merged by name, everything else is replaced.

    A value of None takes a field away (its default counts again), and ``absent: true`` in an item takes the item away.
    """
    merged = dict(base)
    for field, value in override.items():
        old = merged.get(field)
        if value is None:
            merged.pop(field, None)
        elif isinstance(value, Mapping) and (old is None or isinstance(old, Mapping)):
            merged[field] = merge(old or {}, value)
        elif field in KEYS and _is_list(value) and (old is None or _is_list(old)):
            merged[field] = _merge_items(old or [], value, KEYS[field])
        else:
            merged[field] = value
    return merged


def override(workloads: Iterable[Mapping[str, Any]], overrides: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The workloads with the overrides of their names merged over them."""
    found = [dict(workload) for workload in workloads]
    names = [workload.get("name") for workload in found]
    problems = []
    for name, value in (overrides or {}).items():
        if name not in names:
            problems.append(f"{name}: there is no such workload (known: {', '.join(map(str, names)) or 'none'})")
        elif value is not None and not isinstance(value, Mapping):
            problems.append(f"{name}: must be a mapping of a workload's fields")
    if problems:
        raise WorkloadError("Overrides that fit nothing", problems=problems)
    return [merge(workload, (overrides or {}).get(str(workload.get("name"))) or {}) for workload in found]


def declare(known: Iterable[Mapping[str, Any]], more: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Both lists as one; a name declared again takes its first one's place."""
    declared: dict[Any, dict[str, Any]] = {}
    for index, workload in enumerate([*known, *more]):
        declared[workload.get("name", index)] = dict(workload)
    return list(declared.values())


def _merge_items(base: Sequence[Any], items: Sequence[Any], key: str) -> list[Any]:
    merged = [dict(item) if isinstance(item, Mapping) else item for item in base]
    for item in items:
        place = _find(merged, item, key)
        if place is None:
            if not (isinstance(item, Mapping) and item.get("absent")):
                merged.append(item)
        elif item.get("absent"):
            del merged[place]
        else:
            merged[place] = merge(merged[place], item)
    return merged


def _find(items: Sequence[Any], item: Any, key: str) -> int | None:
    if not isinstance(item, Mapping) or key not in item:
        return None
    for index, known in enumerate(items):
        if isinstance(known, Mapping) and known.get(key) == item[key]:
            return index
    return None


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
