# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Our namespaces: found, made, put right, and given back when a run that made them goes no further."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..base import Reporter
from ..errors import WorkloadError
from .api import Api, ApiError
from .kinds import NAMESPACE, key_of
from .live import Snapshot, label
from .site import NAMESPACE as OURS
from .state import condition, terminating
from .words import words

REMOVAL = 120.0  # seconds that a namespace may take to go
POLL = 0.3


class Home:
    """``changes``: what is new or other about the namespaces, for the diff."""

    def __init__(self, api: Api, namespace: str, *, manage: bool, force: bool) -> None:
        self.api = api
        self.namespace = namespace
        self.manage = manage
        self.force = force
        self.changes: list[str] = []
        self._made: list[dict[str, Any]] = []
        self._wrong: list[Mapping[str, Any]] = []

    def check(self, wanted: Sequence[Mapping[str, Any]], snapshot: Snapshot) -> None:
        """Refuses what belongs to others. Only reads, and dry runs."""
        problems = []
        for thing in wanted:
            name = thing["metadata"]["name"]
            live = snapshot.namespaces.get(name)
            if live is None and not self.manage:
                problems.append(
                    f"There is no namespace {name}: make it, with the label {_level(thing)}, or let "
                    "mlops_manage_namespaces make it"
                )
            elif live is not None and self.manage and label(live, OURS) != self.namespace:
                problems.append(
                    f"The namespace {name} exists and isn't ours: choose another mlops_name, or set "
                    "mlops_manage_namespaces to false if the platform is to live in it"
                )
            elif self.manage and not _fits(live, thing):
                self.changes.append(str(key_of(thing)))
                try:
                    self.api.apply(thing, dry_run=True, force=self.force)
                except ApiError as error:
                    problems.append(words(error, key_of(thing)))
                if live is not None:
                    self._wrong.append(thing)
        if problems:
            raise WorkloadError("The cluster refuses this; nothing was changed", problems=problems)

    def make(self, wanted: Sequence[Mapping[str, Any]], snapshot: Snapshot, report: Reporter) -> None:
        """Those that aren't there: nothing can be tried in them before."""
        for thing in wanted:
            name = thing["metadata"]["name"]
            if snapshot.namespaces.get(name) is None and self.manage:
                report(f"creating the namespace {name}")
                stored, _new = self.api.apply(thing, force=self.force)
                self._made.append(stored)
                snapshot.namespaces[name] = stored

    def unmake(self) -> None:
        for thing in self._made:
            self.api.delete(thing, NAMESPACE)
        wait_gone(self.api, [thing["metadata"]["name"] for thing in self._made])

    def put_right(self, report: Reporter) -> None:
        """Labels that somebody has changed: Pod Security's levels are among them."""
        for thing in self._wrong:
            report(f"putting the namespace {thing['metadata']['name']} right")
            self.api.apply(thing, force=self.force)


def leaving(snapshot: Snapshot) -> list[str]:
    """Namespaces of ours that are on their way out: they take nothing new."""
    return [
        name
        for name, thing in snapshot.namespaces.items()
        if thing is not None and terminating(thing) and label(thing, OURS) == snapshot.namespace
    ]


def wait_gone(api: Api, names: Sequence[str]) -> None:
    until = time.monotonic() + REMOVAL
    for name in names:
        while True:
            found = api.find(NAMESPACE.path(None, name))
            if found is None or not terminating(found):
                break
            if time.monotonic() > until:
                why = condition(found, "NamespaceContentRemaining").get("message") or "something holds it"
                raise WorkloadError(f"The namespace {name} doesn't go away: {why}")
            time.sleep(POLL)


def _fits(live: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    if live is None:
        return False
    found = live["metadata"].get("labels") or {}
    return all(found.get(name) == value for name, value in wanted["metadata"]["labels"].items())


def _level(thing: Mapping[str, Any]) -> str:
    name = "pod-security.kubernetes.io/enforce"
    return f"{name}={thing['metadata']['labels'].get(name)}"
