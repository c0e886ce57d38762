# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where groups of alert rules are kept: the provisioning API, or its successor, which has rules alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .apis import FOLDER, RULES, Resources, annotation, provenance
from .client import GrafanaClient
from .rules import Rule, from_provisioning, from_resource, to_provisioning, to_resource
from .values import duration, seconds

KEEPS_ORDER = (11, 5, 2)
"""The first version whose provisioning API keeps the order of a group's rules, and makes rules of given uids."""
GROUP_LABEL = "grafana.com/group"
GROUP_ANNOTATION = "mlops.onprem/group"


@dataclass(frozen=True)
class Group:
    """``provenances`` are what has locked its rules: ``api``, ``file``, ..., or empty."""

    name: str
    folder_uid: str
    interval: str
    rules: list[Rule]
    provenances: frozenset[str]


class RuleStore(Protocol):
    """One organisation's groups of rules."""

    ordered: bool

    def find(self, folder: str, name: str) -> Group | None: ...

    def all(self) -> list[Group]: ...

    def write(self, group: Group, held: Group | None, *, locked: bool) -> None: ...

    def remove(self, group: Group) -> None: ...


def rule_store(client: GrafanaClient) -> RuleStore:
    """The provisioning API where the server has it, else its successor."""
    return Provisioning(client) if client.provisions("folder", "-", "rule-groups", "-") else RuleResources(client)


class Provisioning:
    """Rules through the provisioning API, of Grafana 10 to 13."""

    def __init__(self, client: GrafanaClient) -> None:
        self._client = client
        self.ordered = client.version() >= KEEPS_ORDER

    def find(self, folder: str, name: str) -> Group | None:
        held = self._client.find_rule_group(folder, name)
        if not held or not held.get("rules"):
            return None
        rules = [from_provisioning(rule) for rule in held["rules"]]
        interval = duration("interval", held["interval"])
        return Group(name, folder, interval, rules, frozenset(map(self._provenance, held["rules"])))

    def _provenance(self, rule: Mapping[str, Any]) -> str:
        # Some versions tell it with the group, others with the rule alone.
        alone = rule if rule.get("provenance") else self._client.find_rule(str(rule["uid"]))
        return str((alone or {}).get("provenance") or "")

    def all(self) -> list[Group]:
        names = sorted({(str(rule["folderUID"]), str(rule["ruleGroup"])) for rule in self._client.rules()})
        found = (self.find(folder, name) for folder, name in names)
        return [group for group in found if group is not None]

    def write(self, group: Group, held: Group | None, *, locked: bool) -> None:
        known = {rule["uid"] for rule in held.rules} if held else set()
        wanted = {rule["uid"] for rule in group.rules}
        titles = {rule["title"] for rule in group.rules}
        for rule in held.rules if held else []:
            # Titles are unique in a folder, so the old one makes room for one of another uid.
            if rule["uid"] not in wanted and rule["title"] in titles:
                self._client.delete_rule(str(rule["uid"]))
        rules = [to_provisioning(rule, group.folder_uid, group.name) for rule in group.rules]
        for body in rules:
            if not self.ordered and body["uid"] and body["uid"] not in known:
                self._client.create_rule(body, locked=locked)
        body = {
            "title": group.name,
            "folderUid": group.folder_uid,
            "interval": seconds("interval", group.interval),
            "rules": rules,
        }
        self._client.write_rule_group(group.folder_uid, group.name, body, locked=locked)

    def remove(self, group: Group) -> None:
        for rule in group.rules:
            self._client.delete_rule(str(rule["uid"]))


class RuleResources:
    """Rules through ``rules.alerting.grafana.app``, which has no groups: a rule's name says which it belongs to."""

    ordered = False

    def __init__(self, client: GrafanaClient) -> None:
        self._resources = Resources(client, RULES, "AlertRule", "alertrules", ("v1beta1", "v0alpha1"))

    def find(self, folder: str, name: str) -> Group | None:
        members = [
            held
            for held in self._resources.all()
            if annotation(held, FOLDER) == folder and belongs(held["metadata"], name)
        ]
        return _group(name, folder, members) if members else None

    def all(self) -> list[Group]:
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for held in self._resources.all():
            name = _told_group(held["metadata"])
            if name:
                groups.setdefault((annotation(held, FOLDER), name), []).append(held)
        return [_group(name, folder, members) for (folder, name), members in sorted(groups.items())]

    def write(self, group: Group, held: Group | None, *, locked: bool) -> None:
        annotations = {FOLDER: group.folder_uid, GROUP_ANNOTATION: group.name}
        written = set()
        for rule in group.rules:
            name = rule["uid"] or resource_name(group.name, rule["title"])
            spec = to_resource(rule, group.interval)
            found = self._resources.find(name)
            if found is None:
                self._resources.create(spec, name=name, locked=locked, annotations=annotations)
            else:
                self._resources.replace(found, spec, locked=locked, annotations=annotations)
            written.add(name)
        for rule in held.rules if held else []:
            if rule["uid"] not in written:
                self._resources.delete(str(rule["uid"]))

    def remove(self, group: Group) -> None:
        for rule in group.rules:
            self._resources.delete(str(rule["uid"]))


def _group(name: str, folder: str, members: Sequence[Mapping[str, Any]]) -> Group:
    rules = [from_resource(held["spec"], str(held["metadata"]["name"])) for held in members]
    intervals = {duration("interval", held["spec"]["trigger"]["interval"]) for held in members}
    # Rules with intervals of their own are no group of any interval.
    interval = intervals.pop() if len(intervals) == 1 else ""
    order = sorted(rules, key=lambda rule: str(rule["title"]))
    return Group(name, folder, interval, order, frozenset(map(provenance, members)))


def _hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def resource_name(group: str, title: str) -> str:
    """The name of a rule that was given no uid; its first half is the group's."""
    return f"{_hash(group, 8)}-{_hash(title, 24)}"


def belongs(metadata: Mapping[str, Any], group: str) -> bool:
    """Whether a rule is of a group: what the old API made has a label, what this module made a name or annotation."""
    told = _told_group(metadata)
    return told == group if told else str(metadata["name"]).startswith(f"{_hash(group, 8)}-")


def _told_group(metadata: Mapping[str, Any]) -> str:
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    return str(annotations.get(GROUP_ANNOTATION) or labels.get(GROUP_LABEL) or "")
