# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Automations: read, compare, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import InputError
from .._outcome import Outcome
from .client import PrefectClient
from .comparison import check_name, declared

SETTINGS = ("description", "enabled", "tags", "trigger", "actions", "actions_on_trigger", "actions_on_resolve")
NEW: Mapping[str, Any] = {
    "description": "",
    "enabled": True,
    "tags": [],
    "trigger": {},
    "actions": [],
    "actions_on_trigger": [],
    "actions_on_resolve": [],
}
WHOLE = frozenset({"match", "match_related"})
"""Mappings in which a name that isn't given is not to be there."""


@dataclass(frozen=True)
class Wanted:
    """An automation as declared; what is not given is not among ``settings``."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)


def parse(params: Mapping[str, Any]) -> Wanted:
    """An automation as the module's options have it.

    :raises InputError: for what Prefect would refuse.
    """
    check_name("name", params["name"])
    return Wanted(params["name"], declared(params, *SETTINGS))


def facts(automation: Mapping[str, Any]) -> dict[str, Any]:
    """An automation in the collection's form."""
    held = {key: automation.get(key) for key in SETTINGS}
    return {
        "id": str(automation["id"]),
        "name": str(automation["name"]),
        **{key: NEW[key] if value is None else value for key, value in held.items()},
        "created": automation.get("created"),
        "updated": automation.get("updated"),
    }


def settled(wanted: Any, current: Any, name: str = "") -> Any:
    """What a setting becomes: the present value where it says the same, with what isn't given left as it is.

    Prefect keeps lists of names as sets, and takes one name for a list of one.
    """
    if isinstance(wanted, Mapping) and isinstance(current, Mapping):
        kept = {} if name in WHOLE or _kind(wanted) not in ("", _kind(current)) else current
        return {**kept, **{key: settled(value, current.get(key), str(key)) for key, value in wanted.items()}}
    if isinstance(wanted, list) and isinstance(current, list):
        if not any(isinstance(one, (Mapping, list)) for one in wanted):
            return current if sorted(map(str, wanted)) == sorted(map(str, current)) else wanted
        held = current if len(current) == len(wanted) else [None] * len(wanted)
        return [settled(one, other, name) for one, other in zip(wanted, held, strict=True)]
    return current if [wanted] == current or wanted == [current] or wanted == current else wanted


def _kind(value: Mapping[str, Any]) -> str:
    return str(value.get("type", ""))


def shown(value: Mapping[str, Any] | None) -> dict[str, Any]:
    """The part of an automation that declarations are about, for the diff."""
    return {} if value is None else {key: value[key] for key in ("name", *SETTINGS)}


def as_new(wanted: Wanted) -> Outcome:
    """What an automation would be at a server that nothing is known of."""
    after = {"id": None, "name": wanted.name, **NEW, **wanted.settings, "created": None, "updated": None}
    return Outcome(True, {}, shown(after), after)


class Automations:
    """The automations of one server."""

    def __init__(self, client: PrefectClient, *, check: bool) -> None:
        self._client = client
        self._check = check

    def all(self, name: str | None = None) -> list[dict[str, Any]]:
        return sorted(map(facts, self._client.automations(name)), key=lambda one: (one["name"], one["id"]))

    def find(self, name: str) -> dict[str, Any] | None:
        """:raises InputError: where several have the name, which Prefect allows."""
        found = self.all(name)
        if len(found) > 1:
            raise InputError(f"name: there are {len(found)} automations named {name}; remove all but one")
        return found[0] if found else None

    def present(self, wanted: Wanted) -> Outcome:
        """Make an automation as it is wanted."""
        current = self.find(wanted.name)
        if current is None:
            for option in ("trigger", "actions"):
                if not wanted.settings.get(option):
                    raise InputError(f"{option}: the automation {wanted.name} doesn't exist yet, so it needs this")
            outcome = as_new(wanted)
        else:
            after = current | {key: settled(value, current[key], key) for key, value in wanted.settings.items()}
            outcome = Outcome(shown(current) != shown(after), shown(current), shown(after), after)
        if self._check or not outcome.changed:
            return outcome
        if current is None:
            self._client.create_automation(outcome.after)
        else:
            self._client.update_automation(current["id"], outcome.after)
        written = self.find(wanted.name)
        return Outcome(True, outcome.before, shown(written), written)

    def absent(self, name: str) -> Outcome:
        """Remove an automation."""
        current = self.find(name)
        if current is None:
            return Outcome(False, {}, {})
        if not self._check:
            self._client.delete_automation(current["id"])
        return Outcome(True, shown(current), {})
