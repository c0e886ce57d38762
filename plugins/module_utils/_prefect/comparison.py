# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted compared with what is there, and what of it may be shown; pure functions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .._errors import InputError

HIDDEN = "********"
NO_LIMIT = -1
"""What an option of a limit says to have none."""
SECRET = re.compile(
    r"passw|passphrase|secret|token|credential|authoriz|(?:^|[_.-])auth(?:$|[_.-])|(?:api|access|private|signing)[_-]?key",
    re.IGNORECASE,
)
# A JSON schema's own words about a secret field are no secret.
SCHEMA_WORDS = frozenset({"type", "title", "description", "format", "$ref"})
TEMPLATE = re.compile(r"\s*\{\{[^{}]*\}\}\s*")
IN_ADDRESS = re.compile(r"//[^/@\s]+@")
# Shorter ones would take harmless text with them.
SHORTEST = 6
FORBIDDEN = "/%&<>"


def masked(value: Any, before: Any = None, *, secret: bool = False) -> Any:
    """A copy in which texts under a name that speaks of a secret are hidden; one that differs from ``before`` says so.

    Templates such as ``{{ prefect.blocks.secret.x }}`` are references, and stay.
    """
    if isinstance(value, Mapping):
        old = before if isinstance(before, Mapping) else {}
        return {key: masked(one, old.get(key), secret=_is_secret(key, secret)) for key, one in value.items()}
    if isinstance(value, list):
        held = before if isinstance(before, list) else []
        return [
            masked(one, held[number] if number < len(held) else None, secret=secret) for number, one in enumerate(value)
        ]
    if not isinstance(value, str) or not value:
        return value
    if secret and not TEMPLATE.fullmatch(value):
        return HIDDEN if before is None or before == value else f"{HIDDEN} (changed)"
    return IN_ADDRESS.sub("//***@", value)


def secrets_in(value: Any, *, secret: bool = False) -> Iterator[str]:
    """The texts that ``masked`` hides."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from secrets_in(one, secret=_is_secret(key, secret))
    elif isinstance(value, list):
        for one in value:
            yield from secrets_in(one, secret=secret)
    elif secret and isinstance(value, str) and len(value) >= SHORTEST and not TEMPLATE.fullmatch(value):
        yield value


def _is_secret(key: Any, inside: bool) -> bool:
    return key not in SCHEMA_WORDS if inside else bool(SECRET.search(str(key)))


def differing(wanted: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is wanted, that which differs."""
    return {key: value for key, value in wanted.items() if key not in current or current[key] != value}


def declared(params: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The options of these names that were given."""
    return {key: params[key] for key in keys if params[key] is not None}


def as_limit(option: str, value: int | None, lowest: int) -> int | None:
    """A limit as the API has it.

    :raises InputError: for what Prefect would refuse.
    """
    if value == NO_LIMIT:
        return None
    if value is not None and value < lowest:
        raise InputError(f"{option}: must be {lowest} or more, or {NO_LIMIT} for no limit")
    return value


def check_name(option: str, value: str) -> None:
    """Prefect's own rule, said before anything is touched."""
    if not value.strip() or any(character in value for character in FORBIDDEN):
        raise InputError(f"{option}: {value!r} must not be empty, and must have none of {' '.join(FORBIDDEN)}")


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint for a name that isn't there: those like it, or else all, a few at most."""
    there = sorted(set(names))
    near = difflib.get_close_matches(name, there, n=5, cutoff=0.5)
    if near:
        return f"similar ones are {', '.join(near)}"
    if not there:
        return "there is none at all"
    return f"there are {', '.join(there[:10])}{', ...' if len(there) > 10 else ''}"
