# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups of alert rules: read, compare, write."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._errors import InputError
from .._outcome import Outcome
from .client import GrafanaClient
from .folders import Folder, Folders
from .rule_stores import Group, rule_store
from .rules import Rule, differences, parse, planned
from .values import duration, paths_that_differ


@dataclass(frozen=True)
class Wanted:
    """A group of rules as declared."""

    name: str
    interval: str
    locked: bool
    rules: list[Rule]


def parse_group(params: Mapping[str, Any]) -> Wanted:
    """A group as the module's options have it.

    :raises InputError: for what Grafana would refuse.
    """
    if "/" in params["name"]:
        raise InputError(f"name: {params['name']!r} must have no slash; Grafana's API can't address such a group")
    rules = parse(params["rules"] or [])
    if params["state"] == "present" and not rules:
        raise InputError("rules: a group has one rule at least; state=absent removes it")
    return Wanted(params["name"], duration("interval", params["interval"]), params["locked"], rules)


def group_facts(group: Group, folder: str | None = None) -> dict[str, Any]:
    """A group in the collection's form."""
    return {
        "name": group.name,
        "folder_uid": group.folder_uid or None,
        **({} if folder is None else {"folder": folder}),
        "interval": group.interval,
        "locked": bool(group.provenances) and "" not in group.provenances,
        "provenance": ", ".join(sorted(group.provenances - {""})),
        "rules": group.rules,
    }


def check_ours(group: Group, what: str) -> None:
    """Refuse to touch what a file provisions: the server would refuse it half-way."""
    foreign = sorted(group.provenances - {"", "api"})
    if foreign:
        raise InputError(f"{what}: the group {group.name} is provisioned by {', '.join(foreign)}; change it there")


class RuleGroups:
    """The groups of rules of one organisation."""

    def __init__(self, client: GrafanaClient, *, check: bool) -> None:
        self._store = rule_store(client)
        self._folders = Folders(client)
        self._check = check

    def all(self, folder: Folder | None, name: str | None) -> list[dict[str, Any]]:
        """Of all folders or one; none of a folder that isn't there."""
        if folder is not None and not folder.exists:
            return []
        if folder is not None and name is not None:
            one = self._store.find(folder.uid or "", name)
            return [] if one is None else [group_facts(one)]
        found = self._store.all()
        if folder is not None:
            found = [group for group in found if group.folder_uid == folder.uid]
        return [group_facts(group) for group in found if name in (None, group.name)]

    def folder(self, params: Mapping[str, Any]) -> Folder:
        return self._folders.find(params["folder_uid"], params["folder"])

    def present(self, wanted: Wanted, folder: Folder) -> Outcome:
        """Make a group as it is wanted: its interval, and its rules, no others."""
        held = self._store.find(folder.uid or "", wanted.name) if folder.exists else None
        if held is not None:
            check_ours(held, "name")
        rules = planned(wanted.rules, held.rules if held else [], ordered=self._store.ordered)
        group = Group(
            wanted.name, folder.uid or "", wanted.interval, rules, frozenset({"api" if wanted.locked else ""})
        )
        before = {} if held is None else group_facts(held, folder.title)
        after = group_facts(group, folder.title)
        changed = held is None or bool(paths_that_differ(after, before))
        if not changed or self._check:
            return Outcome(changed, before, after, after)
        group = replace(group, folder_uid=self._folders.make(folder))
        self._store.write(group, held, locked=wanted.locked)
        return Outcome(True, before, after, self._written(group, folder.title))

    def _written(self, group: Group, title: str) -> dict[str, Any]:
        """What the server made of it; it must be what was wanted, or the next run would change it again."""
        found = self._store.find(group.folder_uid, group.name)
        wrong = differences(group.rules, found.rules if found else [], ordered=self._store.ordered)
        if found and found.interval != group.interval:
            wrong.append("interval")
        if wrong or found is None:
            raise InputError(
                f"Grafana took the group {group.name}, but keeps it otherwise than declared, at {', '.join(wrong)}: "
                "declare it as Grafana keeps it, or without what this version doesn't know"
            )
        return group_facts(found, title)

    def absent(self, name: str, folder: Folder) -> Outcome:
        """Remove a group with its rules; the folder stays."""
        held = self._store.find(folder.uid or "", name) if folder.exists else None
        if held is None:
            return Outcome(False, {}, {})
        check_ours(held, "name")
        if not self._check:
            self._store.remove(held)
        return Outcome(True, group_facts(held, folder.title), {})

    def prune(self, keep: Collection[str], folder: Folder) -> Outcome:
        """Remove the folder's groups but those of these names; ``value`` has the names of what went."""
        groups = [group for group in self._store.all() if folder.exists and group.folder_uid == folder.uid]
        gone = [group for group in groups if group.name not in keep]
        for group in gone:
            check_ours(group, "keep")
        for group in [] if self._check else gone:
            self._store.remove(group)
        before = {group.name: group_facts(group, folder.title) for group in groups}
        names = [group.name for group in gone]
        after = {name: facts for name, facts in before.items() if name not in names}
        return Outcome(bool(gone), before, after, {"removed": names})


def as_new(wanted: Wanted, params: Mapping[str, Any]) -> Outcome:
    """What a group would be at a server that nothing is known of."""
    rules = planned(wanted.rules, [], ordered=True)
    provenances = frozenset({"api" if wanted.locked else ""})
    group = Group(wanted.name, params["folder_uid"] or "", wanted.interval, rules, provenances)
    after = group_facts(group, params["folder"] or params["folder_uid"])
    return Outcome(True, {}, after, after)
