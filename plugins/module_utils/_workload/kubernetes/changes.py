# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What each object would become, asked by the server's own dry run; and whatever stands in the way, all at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from .api import Api, ApiError
from .kinds import ROLE_BINDING, Key, key_of, kind_named, kind_of
from .live import Snapshot, comparable, differences, label
from .managed import applied, is_ours
from .site import NAMESPACE, SET, WORKLOAD
from .words import immutable, port_taken, words


@dataclass
class Change:
    """One object. action: none, create, update, replace (remove and create). ``stored`` is what the server would have
    then, ``previous`` what we had applied before: the way back."""

    manifest: dict[str, Any]
    live: dict[str, Any] | None
    stored: dict[str, Any]
    action: str

    @property
    def key(self) -> Key:
        return key_of(self.manifest)

    @property
    def why(self) -> list[str]:
        if self.live is None or self.action == "none":
            return []
        return differences(comparable(self.live), comparable(self.stored))

    @property
    def previous(self) -> dict[str, Any] | None:
        return applied(self.live) if self.live is not None else None


@dataclass(frozen=True)
class DryRun:
    """``set_name`` None: for what all sets share. ``freed``: node ports that go with what is removed in this run."""

    api: Api
    namespace: str
    set_name: str | None
    snapshot: Snapshot
    force: bool = False
    freed: Collection[int] = ()

    def run(self, manifests: Iterable[Mapping[str, Any]], problems: list[str]) -> dict[Key, Change]:
        """Eight calls at a time. Adds to ``problems``; the changes are complete only when none were added."""
        found = self.api.each(self._one, [dict(thing) for thing in manifests])
        changes: dict[Key, Change] = {}
        for change in found:
            if isinstance(change, str):
                if change not in problems:
                    problems.append(change)
            else:
                changes[change.key] = change
        return changes

    def _one(self, thing: dict[str, Any]) -> Change | str:
        key = key_of(thing)
        live = self.snapshot.objects.get(key)
        if key.namespace and key.namespace not in self.snapshot.there:
            return Change(thing, None, thing, "create")
        problem = self._owner(key, live)
        if problem:
            return problem
        try:
            stored, new = self.api.apply(thing, dry_run=True, force=self.force)
        except ApiError as error:
            return self._refused(thing, live, error)
        if live is None and not new:
            live = self._unlisted(key)
            problem = self._foreign(key, live)
            if problem:
                return problem
        if live is None:
            return Change(thing, None, stored, "create")
        same = comparable(live) == comparable(stored)
        return Change(thing, live, stored, "none" if same else "update")

    def _refused(self, thing: dict[str, Any], live: dict[str, Any] | None, error: ApiError) -> Change | str:
        key = key_of(thing)
        if live is None and error.status in (403, 409, 422):
            live = self._unlisted(key)
            problem = self._foreign(key, live)
            if problem:
                return problem
        if immutable(error) and live is not None and key.kind != "PersistentVolumeClaim":
            return Change(thing, live, _without_status(thing), "replace")
        if live is None and role_unseen(error, key):
            return Change(thing, None, thing, "create")
        if port_taken(error) and set(port_taken(error)) <= set(self.freed):
            return Change(thing, live, thing, "create" if live is None else "update")
        return words(error, key)

    def _owner(self, key: Key, live: Mapping[str, Any] | None) -> str | None:
        """Another set's object must not be taken over."""
        if live is None:
            return None
        owner = label(live, SET)
        if owner is not None and owner != self.set_name:
            return f"{label(live, WORKLOAD) or key.name}: the set {owner!r} has a workload of this name already ({key})"
        return None

    def _unlisted(self, key: Key) -> dict[str, Any] | None:
        """An object of this name without our label."""
        try:
            return get(self.api, key)
        except ApiError:
            return None

    def _foreign(self, key: Key, live: Mapping[str, Any] | None) -> str | None:
        """Ours is what we have applied once, though somebody may have taken the labels off."""
        if live is None or (label(live, NAMESPACE) in (None, self.namespace) and is_ours(live)):
            return None
        return (
            f"{key} exists and isn't ours: rename the workload, choose another mlops_name, or remove it "
            f"(kubectl -n {key.namespace} delete {kind_of(live).plural} {key.name})"
        )


def role_unseen(error: ApiError, key: Key) -> bool:
    """Who may not bind just any role has the role looked at, and that is made in the same run, a moment before."""
    return error.status == 404 and key.kind == ROLE_BINDING.name


def get(api: Api, key: Key) -> dict[str, Any] | None:
    kind = kind_named(key.kind)
    found: dict[str, Any] | None = api.find(kind.path(key.namespace, key.name))
    if found is not None:
        found.setdefault("apiVersion", kind.api)
        found.setdefault("kind", kind.name)
    return found


def _without_status(thing: Mapping[str, Any]) -> dict[str, Any]:
    return deepcopy({key: value for key, value in thing.items() if key != "status"})
