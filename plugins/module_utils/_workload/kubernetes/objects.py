# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Removing: what a set no longer declares, what nobody uses any more, a whole set, a namespace with nothing left."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ..base import Reporter
from ..errors import WorkloadError
from .api import Api, ApiError
from .home import wait_gone
from .kinds import (
    CLAIM,
    CONTROLLERS,
    DEPLOYMENT,
    MADE,
    NAMESPACE,
    POD,
    STATEFUL_SET,
    Key,
    Kind,
    key_of,
    kind_named,
)
from .live import Snapshot, label, read
from .managed import is_ours
from .pull import is_pull
from .site import NAMESPACE as OURS
from .site import SET, WORKLOAD
from .state import lost

REMOVAL = 120.0  # seconds that containers may take to go, beyond the grace to stop
POLL = 0.3
RUNS = [kind.name for kind in CONTROLLERS]


def unneeded(
    snapshot: Snapshot, set_name: str, wanted: Collection[Key], declared: Collection[str], prune: bool
) -> list[Key]:
    """What the set has and doesn't want. Without ``prune`` only what its declared workloads have left behind. Claims
    are never among them."""
    return [
        key
        for key, thing in snapshot.of_set(set_name).items()
        if key not in wanted and key.kind != CLAIM.name and (prune or label(thing, WORKLOAD) in declared)
    ]


def node_ports(thing: Mapping[str, Any]) -> set[int]:
    if thing["kind"] != "Service":
        return set()
    return {int(port["nodePort"]) for port in thing["spec"].get("ports") or [] if port.get("nodePort")}


def host_ports(thing: Mapping[str, Any]) -> set[tuple[int, str]]:
    """The ports of the host that the Pods of a controller, or a Pod itself, want."""
    spec = thing["spec"].get("template", {}).get("spec") or thing["spec"]
    return {
        (int(port["hostPort"]), str(port.get("protocol") or "TCP"))
        for container in spec.get("containers") or []
        for port in container.get("ports") or []
        if port.get("hostPort")
    }


class Removal:
    """``namespaces``: ours. ``manage``: whether they may go as well."""

    def __init__(self, api: Api, namespace: str, namespaces: Sequence[str], report: Reporter, *, manage: bool) -> None:
        self.api = api
        self.namespace = namespace
        self.namespaces = namespaces
        self.report = report
        self.manage = manage

    def remove(self, things: Iterable[Mapping[str, Any]]) -> None:
        """What runs Pods first, then the rest, eight at a time; waits until the Pods are gone too."""
        things = list(things)
        running = [thing for thing in things if thing["kind"] in RUNS]
        rest = [thing for thing in things if thing["kind"] not in RUNS and thing["kind"] != CLAIM.name]
        claims = [thing for thing in things if thing["kind"] == CLAIM.name]
        for thing in running:
            self.report(f"removing {_title(thing)}")
        self.api.each(self.api.delete, running)
        if running:
            self._wait_pods(running)
        self.api.each(self.api.delete, rest)
        for thing in claims:
            self.report(f"removing volume {thing['metadata']['name']}")
        self.api.each(self.api.delete, claims)
        self._wait_gone(claims)

    def namespaces_left(self, snapshot: Snapshot) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
        """Namespaces that can go, what all sets share in those that must stay, and why they stay."""
        gone: list[dict[str, Any]] = []
        shared: list[dict[str, Any]] = []
        notes: list[str] = []
        for name in snapshot.there:
            here = {key: thing for key, thing in snapshot.objects.items() if key.namespace == name}
            if any(label(thing, SET) and key.kind != CLAIM.name for key, thing in here.items()):
                continue
            claims = [key.name for key in here if key.kind == CLAIM.name]
            found = snapshot.namespaces[name]
            ours = self.manage and found is not None and label(found, OURS) == self.namespace
            strangers = self._strangers(name) if ours else []
            if ours and found is not None and not claims and not strangers:
                gone.append(found)
                continue
            shared += [thing for thing in here.values() if not label(thing, SET)]
            if claims:
                notes.append(f"The namespace {name} stays, with the volumes {', '.join(sorted(claims))}")
            elif strangers:
                notes.append(f"The namespace {name} stays: it has what isn't ours: {', '.join(strangers[:5])}")
        return gone, shared, notes

    def remove_namespaces(self, doomed: Iterable[Mapping[str, Any]]) -> None:
        doomed = list(doomed)
        for thing in doomed:
            self.report(f"removing the namespace {thing['metadata']['name']}")
            self.api.delete(thing, NAMESPACE)
        wait_gone(self.api, [thing["metadata"]["name"] for thing in doomed])

    def _strangers(self, namespace: str) -> list[str]:
        """What others have put into a namespace of ours; whatever belongs to something else doesn't count."""
        found: list[str] = []

        def look(kind: Kind) -> list[dict[str, Any]]:
            try:
                return self.api.items(kind, namespace)
            except ApiError as error:
                if error.status != 403:
                    raise
                return []

        for things in self.api.each(look, (*MADE, POD)):
            for thing in things:
                meta = thing["metadata"]
                own = label(thing, OURS) == self.namespace or is_ours(thing)
                system = (thing["kind"], meta["name"]) in (
                    ("ConfigMap", "kube-root-ca.crt"),
                    ("ServiceAccount", "default"),
                )
                if not (
                    own or system or meta.get("ownerReferences") or thing.get("type", "").endswith("account-token")
                ):
                    found.append(f"{thing['kind']} {meta['name']}")
        return sorted(found)

    def _wait_pods(self, mains: Sequence[Mapping[str, Any]]) -> None:
        """Pods on a node that doesn't answer remain for as long as it doesn't: they aren't waited for."""
        names = {(thing["metadata"]["namespace"], label(thing, WORKLOAD)) for thing in mains}
        uids = {thing["metadata"]["uid"] for thing in mains}
        kept = {
            (key.namespace, label(thing, WORKLOAD))
            for key, thing in self._read().controllers().items()
            if thing["metadata"]["uid"] not in uids
        }
        until = time.monotonic() + max((_grace(thing) for thing in mains), default=0) + REMOVAL
        while True:
            snapshot = self._read()
            left = [
                pod["metadata"]["name"]
                for pod in snapshot.pods
                if (pod["metadata"]["namespace"], label(pod, WORKLOAD)) in names - kept and not lost(pod)
            ]
            left += [str(key) for key, thing in snapshot.objects.items() if thing["metadata"]["uid"] in uids]
            if not left:
                return
            if time.monotonic() > until:
                raise WorkloadError(f"These don't go away: {', '.join(sorted(left))}")
            time.sleep(POLL)

    def _read(self) -> Snapshot:
        return read(self.api, self.namespace, self.namespaces, objects=False)

    def _wait_gone(self, things: Iterable[Mapping[str, Any]]) -> None:
        until = time.monotonic() + REMOVAL
        for thing in things:
            key = key_of(thing)
            while True:
                found = self.api.find(kind_named(key.kind).path(key.namespace, key.name))
                if found is None or found["metadata"]["uid"] != thing["metadata"]["uid"]:
                    break
                if time.monotonic() > until:
                    raise WorkloadError(f"{key} doesn't go away: a Pod still uses it")
                time.sleep(POLL)


def pull_leftovers(snapshot: Snapshot, set_name: str) -> list[dict[str, Any]]:
    """The Pods of an interrupted run that brought images."""
    return [pod for pod in snapshot.pods if is_pull(pod) and label(pod, SET) == set_name]


def _grace(thing: Mapping[str, Any]) -> float:
    return float(thing["spec"]["template"]["spec"].get("terminationGracePeriodSeconds") or 0)


def _title(thing: Mapping[str, Any]) -> str:
    kinds = {DEPLOYMENT.name: "", STATEFUL_SET.name: "", "Job": "job "}
    return f"{kinds.get(thing['kind'], thing['kind'] + ' ')}{label(thing, WORKLOAD) or thing['metadata']['name']}"
