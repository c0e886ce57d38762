# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a run will do, known before anything is touched, and how that is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..base import Outcome, Result
from ..model import Workload
from ..order import dependencies
from .changes import Change
from .kinds import Key, key_of
from .live import Snapshot, label, mounted, shown
from .render import KubernetesRendered
from .rollout import Unit
from .site import WORKLOAD
from .state import job_state, status_of

HASHED = ("ConfigMap", "Secret")  # what mounts them says that they are others now


@dataclass
class Plan:
    """``changes`` of every object; ``removals`` by key; ``shared``: what all sets have in common and has changed."""

    units: list[Unit]
    changes: dict[Key, Change]
    removals: dict[Key, dict[str, Any]]
    shared: list[Change]


def images_problems(declared: Sequence[Workload], images: Mapping[str, str]) -> list[str]:
    """Nodes pull on their own: under a tag, one could have another image than its neighbour, and keep it."""
    used = sorted({item.image for workload in declared for item in (workload, *workload.jobs)} & set(images))
    return [
        f"images.{name}: {images[name]} has no digest: name the image as repository@sha256:..."
        for name in used
        if "@sha256:" not in images[name]
    ]


def plan_units(rendered: Sequence[KubernetesRendered], changes: Mapping[Key, Change], snapshot: Snapshot) -> list[Unit]:
    """In order of declaration, each job before what it is for."""
    waits = dependencies([item.workload for item in rendered])
    units: list[Unit] = []
    for item in rendered:
        needs = set(waits[item.workload.name])
        before: set[str] = set()
        for job in item.jobs:
            peers = {name for name in job.workload.connects if name in needs}
            units.append(_unit(job, changes, snapshot, peers | before))
            before = {job.workload.name}
        needs |= {job.workload.name for job in item.jobs}
        units.append(_unit(item, changes, snapshot, needs))
    return units


def _unit(rendered: KubernetesRendered, changes: Mapping[Key, Change], snapshot: Snapshot, needs: set[str]) -> Unit:
    own = [changes[key_of(thing)] for thing in rendered.manifests]
    changed = [change for change in own if change.action != "none"]
    main = own[-1]
    if main.live is None:
        return Unit(rendered, changed, "create", _why_new(rendered, main.key, snapshot), needs)
    if rendered.workload.is_job and job_state(main.live) == "failed":
        again = Change(main.manifest, main.live, main.stored, "replace")
        return Unit(
            rendered,
            [*(change for change in changed if change is not main), again],
            "replace",
            ["failed before"],
            needs,
        )
    why = list(dict.fromkeys(reason for change in [main, *changed] for reason in _why(change, main)))
    if main.action == "replace":
        return Unit(rendered, changed, "replace", why, needs)
    return Unit(rendered, changed, "update" if changed else "none", why or (["objects"] if changed else []), needs)


def _why(change: Change, main: Change) -> list[str]:
    if change is main:
        return change.why
    if change.key.kind in HASHED and change.live is None:
        return []
    if change.live is None:
        return [f"{change.key.kind} {change.key.name}"]
    return [f"{change.key.kind}.{field}" for field in change.why]


def _why_new(rendered: KubernetesRendered, key: Key, snapshot: Snapshot) -> list[str]:
    """What was there of it, if anything."""
    for other, thing in snapshot.controllers().items():
        if label(thing, WORKLOAD) == rendered.workload.name:
            if rendered.workload.is_job and other.kind == key.kind:
                return ["changed"]
            moved = [name for name in ("kind", "namespace") if getattr(other, name) != getattr(key, name)]
            return moved or ["new"]
    return ["new"]


def show(plan: Plan, snapshot: Snapshot, result: Result, namespaces: Sequence[str]) -> None:
    """The plan as a result: all that check mode answers, and the diff of a real run."""
    for unit in plan.units:
        live = snapshot.objects.get(unit.key)
        if unit.changes:
            result.changed = True
            before, after = _diff(unit, snapshot)
            if before:
                result.before[unit.name] = before
            result.after[unit.name] = after
        pods = snapshot.pods_of(live) if live is not None else []
        result.workloads[unit.name] = Outcome(status_of(live, pods), unit.changes, list(unit.why))
    for key, thing in plan.removals.items():
        result.changed = True
        title = str(label(thing, WORKLOAD))
        if title not in result.workloads and key in snapshot.controllers():
            stale = thing["kind"] == "Job"
            result.workloads[title] = Outcome("absent", True, ["no longer needed" if stale else "no longer declared"])
        result.before.setdefault(title, {})[_title(key)] = shown(thing)
    missing = [*namespaces, *(str(change.key) for change in plan.shared)]
    if missing:
        result.changed = True
        result.after["objects"] = sorted(missing)


def _diff(unit: Unit, snapshot: Snapshot) -> tuple[dict[str, Any], dict[str, Any]]:
    """The changed objects of a workload. Of those with a hash in their names there is one of a kind, then and now."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for change in unit.changed:
        if change.live is not None:
            before[_title(change.key)] = shown(change.live)
        after[_title(change.key)] = shown(change.stored)
    if unit.main is not None and unit.main.live is not None:
        wanted = mounted(unit.main.manifest)
        for key in mounted(unit.main.live):
            if key not in wanted and key in snapshot.objects:
                before[_title(key)] = shown(snapshot.objects[key])
    return before, after


def _title(key: Key) -> str:
    return (
        key.kind if key.kind in HASHED or key.kind in ("Deployment", "StatefulSet", "Job") else f"{key.kind} {key.name}"
    )
