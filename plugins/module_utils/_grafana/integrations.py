# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The integrations of a contact point: from the options, from either API, and which is which; pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._errors import InputError
from .secrets import HASHES, check_addresses, compared, flat, hashes_of, redacted, without
from .values import plain, same


@dataclass(frozen=True)
class Integration:
    """One way that a contact point tells.

    :param secrets: by dotted names; None where whatever is there stays. Of what was read, the values are unknown.
    :param kept: the hashes that were found with it.
    """

    uid: str | None
    kind: str
    settings: dict[str, Any]
    disable_resolve_message: bool = False
    secrets: dict[str, str] | None = None
    kept: dict[str, Any] = field(default_factory=dict)


def parse(given: Sequence[Mapping[str, Any]]) -> list[Integration]:
    """The integrations as the module's options have them.

    :raises InputError: for what can't be told apart.
    """
    made = []
    uids: set[str] = set()
    for number, one in enumerate(given):
        where = f"integrations[{number}]"
        settings = dict(plain(one["settings"]))
        secret = one["secure_settings"]
        secrets = None if secret is None else flat(f"{where}.secure_settings", secret)
        twice = sorted(set(secrets or {}) & set(flat_names(settings)))
        if twice or HASHES in settings:
            raise InputError(f"{where}.settings: {', '.join(twice) or HASHES} must not be among them")
        check_addresses(f"{where}.settings", settings)
        if one["uid"] in uids:
            raise InputError(f"{where}.uid: {one['uid']} is given twice")
        uids |= {one["uid"]} - {None}
        made.append(Integration(one["uid"], one["type"], settings, one["disable_resolve_message"], secrets))
    return made


def check_secrets(wanted: Sequence[Integration], types: Sequence[Mapping[str, Any]]) -> None:
    """Refuse secrets among plain settings: what Grafana hides when read can't be compared with them.

    :param types: what the server knows of types of integrations.
    """
    known = {str(one["type"]): set(_secure(one.get("options") or [])) for one in types}
    for number, one in enumerate(wanted):
        for name in sorted(known.get(one.kind, set()) & set(flat_names(one.settings))):
            raise InputError(
                f"integrations[{number}].settings: Grafana hides {name} when read; give it under secure_settings"
            )


def _secure(options: Sequence[Mapping[str, Any]], prefix: str = "") -> list[str]:
    names = []
    for option in options:
        name = f"{prefix}{option.get('propertyName')}"
        if option.get("secure"):
            names.append(name)
        names += _secure(option.get("subformOptions") or [], f"{name}.")
    return names


def flat_names(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of all that is in settings."""
    names = []
    for key, value in settings.items():
        names.append(f"{prefix}{key}")
        if isinstance(value, Mapping):
            names += flat_names(value, f"{prefix}{key}.")
    return names


def read(uid: Any, kind: Any, settings: Mapping[str, Any], quiet: Any, secure: Sequence[str] = ()) -> Integration:
    """An integration as a server has it.

    :param secure: the names of its secrets, where the settings don't tell.
    """
    names = [*redacted(settings), *secure]
    kept = settings.get(HASHES)
    return Integration(
        str(uid or "") or None,
        str(kind),
        without(settings, [*names, HASHES]),
        bool(quiet),
        dict.fromkeys(sorted(set(names)), ""),
        dict(kept) if isinstance(kept, Mapping) else {},
    )


def paired(wanted: Sequence[Integration], held: Sequence[Integration]) -> list[tuple[Integration, Integration | None]]:
    """Each that is wanted with the one that it is: of its uid, or of its type, the most alike first."""
    free = list(held)
    found: dict[int, Integration] = {}
    given = {one.uid for one in wanted if one.uid}

    def pair(alike: Callable[[Integration, Integration], bool]) -> None:
        for number, one in enumerate(wanted):
            if number in found:
                continue
            match = next((other for other in free if alike(one, other)), None)
            if match is not None:
                found[number] = match
                free.remove(match)

    pair(lambda one, other: one.uid is not None and one.uid == other.uid)
    pair(lambda one, other: not one.uid and other.uid not in given and one.kind == other.kind and _alike(one, other))
    pair(lambda one, other: not one.uid and other.uid not in given and one.kind == other.kind)
    return [(one, found.get(number)) for number, one in enumerate(wanted)]


def _alike(one: Integration, other: Integration) -> bool:
    return same(one.settings, other.settings)


def shown(
    pairs: Sequence[tuple[Integration, Integration | None]], held: Sequence[Integration], key: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """How the integrations look before and after, without a secret's value; those that go come last."""
    before, after = [], []
    for one, other in pairs:
        there = other.secrets or {} if other else {}
        old, new = compared(one.secrets, key, there, other.kept if other else {})
        if other is not None:
            before.append(facts(other, old))
        after.append(facts(one, new, uid=one.uid or (other.uid if other else None)))
    stay = [other for _one, other in pairs if other is not None]
    before += [facts(one, compared(None, key, one.secrets or {}, {})[0]) for one in held if one not in stay]
    return before, after


def facts(one: Integration, secrets: Mapping[str, str], uid: str | None = None) -> dict[str, Any]:
    """An integration in the collection's form."""
    return {
        "uid": uid or one.uid,
        "type": one.kind,
        "settings": one.settings,
        "secure_settings": dict(secrets),
        "disable_resolve_message": one.disable_resolve_message,
    }


def kept_for(one: Integration, other: Integration | None, key: str) -> dict[str, Any]:
    """The hashes to keep with an integration."""
    if one.secrets is None:
        return dict(other.kept) if other else {}
    return hashes_of(one.secrets, key, other.kept if other else {})
