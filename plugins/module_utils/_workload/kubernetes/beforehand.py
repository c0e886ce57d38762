# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the dry run of a Deployment, StatefulSet, Job or claim doesn't see: whether its Pods would be let in, whether a
quota has room for all of them, who makes the volumes, who has the ports of the hosts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .api import Api, ApiError
from .changes import Change
from .kinds import CLAIM, NODE, POD, QUOTA, SERVICE_ACCOUNT, STORAGE_CLASS, Key, Kind
from .live import Snapshot, label
from .objects import host_ports
from .quota import Need, need_of, short_of
from .reason import refused
from .rollout import Unit
from .site import NAMESPACE
from .state import condition, ended, terminating
from .words import words

FRESH = 5.0  # seconds until a new namespace has its ServiceAccount
SETTLE = 4.0  # seconds that a quota may take to count what has gone
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def look(
    api: Api,
    units: Sequence[Unit],
    changes: Iterable[Change],
    snapshot: Snapshot,
    problems: list[str],
) -> None:
    """Calls only where something changes that they would tell about."""
    mains = [unit for unit in units if unit.main is not None and unit.key.namespace in snapshot.there]
    answers = api.each(lambda unit: _pod(api, unit, snapshot), mains)
    for answer in answers:
        if isinstance(answer, str):
            problems.append(answer)
    changes = [change for change in changes if change.action == "create"]
    _quotas(api, mains, changes, snapshot, problems)
    _classes(api, [change for change in changes if change.key.kind == CLAIM.name], problems)
    _host_ports(api, mains, snapshot, problems)


def _pod(api: Api, unit: Unit, snapshot: Snapshot) -> str | None:
    """Why a Pod of this template would be refused: Pod Security, a quota that wants limits, a webhook."""
    change = unit.main
    if change is None or (
        change.live is not None and change.live["spec"]["template"] == change.stored["spec"]["template"]
    ):
        return None
    template = change.stored["spec"]["template"]
    name = unit.name
    if Key(SERVICE_ACCOUNT.name, unit.key.namespace, name) not in snapshot.objects:
        name = "default"
        if not _wait_for_account(api, unit.key.namespace):
            return None
    spec = {**template["spec"], "serviceAccountName": name, "serviceAccount": name}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "namespace": unit.key.namespace, "generateName": f"{unit.name}-"},
        "spec": spec,
    }
    try:
        api.create(POD, pod, dry_run=True)
    except ApiError as error:
        if "exceeded quota" in error.text:
            return None  # what the old version sets free isn't in this; the sum below is
        told = words(error)
        return f"{unit.name}: {refused(error.text) if told == error.message else told}"
    return None


def _wait_for_account(api: Api, namespace: str) -> bool:
    until = time.monotonic() + FRESH
    while api.find(SERVICE_ACCOUNT.path(namespace, "default")) is None:
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _quotas(
    api: Api, units: Sequence[Unit], created: Sequence[Change], snapshot: Snapshot, problems: list[str]
) -> None:
    namespaces = sorted({change.key.namespace for change in created} | {unit.key.namespace for unit in units})
    for namespace in namespaces:
        if namespace not in snapshot.there:
            continue
        need = Need()
        for unit in units:
            if unit.key.namespace == namespace and unit.main is not None:
                need.add(unit.main.live, unit.main.stored)
        for change in created:
            if change.key.namespace == namespace:
                need_of(change.stored, need)
        if need.any:
            problems += _short(api, namespace, need)


def _short(api: Api, namespace: str, need: Need) -> list[str]:
    """What quotas have too little of. Pods that are on their way out still count there, and a little longer."""
    until = time.monotonic() + SETTLE
    while True:
        quotas = _allowed(api, QUOTA, namespace)
        going = [pod for pod in _allowed(api, POD, namespace) if terminating(pod)] if quotas else []
        found = [problem for quota in quotas for problem in short_of(quota, need, going)]
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.5)


def _classes(api: Api, claims: Sequence[Change], problems: list[str]) -> None:
    if not claims:
        return
    classes = _allowed(api, STORAGE_CLASS)
    known = sorted(item["metadata"]["name"] for item in classes)
    default = [item for item in classes if (item["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"]
    for change in claims:
        wanted = change.stored["spec"].get("storageClassName")
        hint = (
            f"set mlops_storage_class to one of these: {', '.join(known)}" if known else "the cluster has none at all"
        )
        if not wanted and not default:
            problems.append(f"{change.key}: the cluster has no default storage class: {hint}")
        elif wanted and known and wanted not in known:
            problems.append(f"{change.key}: there is no storage class {wanted!r}: {hint}")


def _host_ports(api: Api, units: Sequence[Unit], snapshot: Snapshot, problems: list[str]) -> None:
    """A port of the hosts is of use only where no other Pod has it; there must be such a node."""
    wanted: dict[tuple[int, str], Unit] = {}
    for unit in units:
        if unit.main is not None:
            before = host_ports(unit.main.live) if unit.main.live is not None else set()
            wanted.update(dict.fromkeys(host_ports(unit.main.stored) - before, unit))
    if not wanted:
        return
    nodes = [item for item in _allowed(api, NODE) if condition(item, "Ready").get("status") == "True"]
    nodes = [item for item in nodes if not item["spec"].get("unschedulable")]
    holders: dict[tuple[int, str], dict[str, str]] = {}
    for pod in _allowed(api, POD, None):
        ours = label(pod, NAMESPACE) == snapshot.namespace
        if ended(pod) or ours:
            continue
        for port in host_ports(pod) & set(wanted):
            title = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            holders.setdefault(port, {})[str(pod["spec"].get("nodeName"))] = title
    for port, by_node in sorted(holders.items()):
        labels = wanted[port].rendered.workload.placement.labels
        names = [item["metadata"]["name"] for item in nodes if _matches(item, labels)]
        if names and all(name in by_node for name in names):
            told = ", ".join(f"{title} on {name}" for name, title in sorted(by_node.items()))
            problems.append(f"{wanted[port].name}: port {port[0]} of the hosts is taken on every node: by {told}")


def _matches(node: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    found = node["metadata"].get("labels") or {}
    return all(found.get(name) == value for name, value in labels.items())


def _allowed(api: Api, kind: Kind, namespace: str | None = None) -> list[dict[str, Any]]:
    """Nothing, where we may not look: the rollout will tell then."""
    try:
        return api.items(kind, namespace)
    except ApiError as error:
        if error.status != 403:
            raise
        return []
