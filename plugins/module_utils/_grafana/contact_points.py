# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contact points with their integrations: read, compare, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import InputError
from .._outcome import Outcome
from .client import GrafanaClient
from .contact_stores import ContactPoint, Pairs, contact_store, used
from .integrations import Integration, check_secrets, facts, paired, parse, shown
from .secrets import HIDDEN, compared
from .values import paths_that_differ


@dataclass(frozen=True)
class Wanted:
    """A contact point as declared. ``key`` is that of the secrets' hashes."""

    name: str
    integrations: list[Integration]
    locked: bool
    key: str


def parse_point(params: Mapping[str, Any]) -> Wanted:
    """A contact point as the module's options have it.

    :raises InputError: for what Grafana would refuse.
    """
    if not params["name"].strip():
        raise InputError("name: must not be empty")
    integrations = parse(params["integrations"] or [])
    if params["state"] == "present" and not integrations:
        raise InputError("integrations: a contact point has one at least; state=absent removes it")
    return Wanted(params["name"], integrations, params["locked"], params["hash_key"] or "")


def point_facts(point: ContactPoint) -> dict[str, Any]:
    """A contact point in the collection's form."""
    ones = [facts(one, dict.fromkeys(one.secrets or {}, HIDDEN)) for one in point.integrations]
    return _whole(point.name, ones, point.locked, point.locked_by)


def _whole(name: str, ones: list[dict[str, Any]], locked: bool, locked_by: Sequence[str]) -> dict[str, Any]:
    return {"name": name, "integrations": ones, "locked": locked, "provenance": ", ".join(locked_by)}


def _after(wanted: Wanted, ones: list[dict[str, Any]]) -> dict[str, Any]:
    return _whole(wanted.name, ones, wanted.locked, ["api"] if wanted.locked else [])


class ContactPoints:
    """The contact points of one organisation."""

    def __init__(self, client: GrafanaClient, *, check: bool) -> None:
        self._client = client
        self._store = contact_store(client)
        self._check = check

    def all(self, name: str | None) -> list[dict[str, Any]]:
        return [point_facts(point) for point in self._store.all(name)]

    def _find(self, name: str) -> ContactPoint | None:
        held = next(iter(self._store.all(name)), None)
        foreign = sorted(set(held.locked_by) - {"api"}) if held else []
        if foreign:
            raise InputError(f"name: {name} is provisioned by {', '.join(foreign)}; change it there")
        return held

    def present(self, wanted: Wanted) -> tuple[Outcome, list[str]]:
        """Make a contact point as it is wanted, with these integrations and no others; and warnings."""
        held = self._find(wanted.name)
        check_secrets(wanted.integrations, self._store.types())
        pairs = paired(wanted.integrations, held.integrations if held else [])
        old, new = shown(pairs, held.integrations if held else [], wanted.key)
        before = {} if held is None else _whole(wanted.name, old, held.locked, held.locked_by)
        after = _after(wanted, new)
        if held is not None:
            self._check_unlocking(wanted, pairs, held)
        changed = held is None or bool(paths_that_differ(after, before))
        if not changed or self._check:
            return Outcome(changed, before, after, _masked(after)), []
        self._store.write(wanted.name, pairs, held, key=wanted.key, locked=wanted.locked)
        return self._written(wanted, before, after)

    @staticmethod
    def _check_unlocking(wanted: Wanted, pairs: Pairs, held: ContactPoint) -> None:
        for number, (one, other) in enumerate(pairs):
            locked = other is not None and held.provenances.get(other.uid or "")
            if locked and not wanted.locked and one.secrets is None and other and other.secrets:
                raise InputError(
                    f"integrations[{number}].secure_settings: Grafana unlocks an integration only by making it anew, "
                    f"so its secrets must be given: {', '.join(other.secrets)}"
                )

    def _written(self, wanted: Wanted, before: dict[str, Any], after: dict[str, Any]) -> tuple[Outcome, list[str]]:
        found = next(iter(self._store.all(wanted.name)), ContactPoint(wanted.name, [], {}))
        again = paired(wanted.integrations, found.integrations)
        old, new = shown(again, found.integrations, wanted.key)
        unhashed = [
            name for one, other in again if one.secrets and other for name in one.secrets if name not in other.kept
        ]
        wrong = [
            path
            for path in paths_that_differ(_after(wanted, new), _whole(wanted.name, old, found.locked, found.locked_by))
            if not (unhashed and "secure_settings" in path)
        ]
        if wrong:
            raise InputError(
                f"Grafana took the contact point {wanted.name}, but keeps it otherwise than declared, at "
                f"{', '.join(wrong)}: declare it as Grafana keeps it, or without what this version doesn't know"
            )
        warnings = (
            [f"Grafana keeps no hash of {', '.join(unhashed)}: each run will write these secrets again"]
            if unhashed
            else []
        )
        return Outcome(True, before, after, point_facts(found)), warnings

    def absent(self, name: str) -> Outcome:
        """Remove a contact point with its integrations."""
        held = self._find(name)
        if held is None:
            return Outcome(False, {}, {})
        if used(self._client, name):
            raise InputError(f"name: a notification policy tells the contact point {name}; take it out of there first")
        if not self._check:
            self._store.remove(held)
        return Outcome(True, point_facts(held), {})


def _masked(after: Mapping[str, Any]) -> dict[str, Any]:
    """What it is after: no more is said to change."""
    ones = [one | {"secure_settings": dict.fromkeys(one["secure_settings"], HIDDEN)} for one in after["integrations"]]
    return {**after, "integrations": ones}


def as_new(wanted: Wanted) -> Outcome:
    """What a contact point would be at a server that nothing is known of."""
    ones = [facts(one, compared(one.secrets, wanted.key, (), {})[1]) for one in wanted.integrations]
    return Outcome(True, {}, _after(wanted, ones), _after(wanted, ones))
