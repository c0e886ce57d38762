# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that a server hides when read: their hashes, kept beside them, tell whether one has changed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .._errors import InputError
from .values import plain

HASHES = "mlopsSecretHashes"
"""The setting that keeps the hashes."""
HIDDEN = "********"
REDACTED = "[REDACTED]"
"""What Grafana shows, and takes for what it has."""
CREDENTIALS = re.compile(r"://[^/@\s]+:[^/@\s]+@")
# 16 MiB and some 50 ms for each guess.
COST = {"n": 2**14, "r": 8, "p": 1}


def hashed(secret: str, key: str, salt: bytes | None = None) -> str:
    """A salted, slow hash of a secret, keyed where there is a key."""
    salt = os.urandom(12) if salt is None else salt
    keyed = hmac.new(key.encode(), secret.encode(), hashlib.sha256).digest()
    made = hashlib.scrypt(keyed, salt=salt, dklen=24, **COST)
    return f"{base64.b64encode(salt).decode()}:{base64.b64encode(made).decode()}"


def matches(secret: str, key: str, kept: Any) -> bool:
    """Whether a kept hash is this secret's; what is no hash matches nothing."""
    if not isinstance(kept, str):
        return False
    try:
        salt = base64.b64decode(kept.partition(":")[0], validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(hashed(secret, key, salt), kept)


def hashes_of(secrets: Mapping[str, str], key: str, kept: Mapping[str, Any]) -> dict[str, str]:
    """The hashes to keep; one that still holds stays as it is."""
    return {
        name: kept[name] if matches(secret, key, kept.get(name)) else hashed(secret, key)
        for name, secret in secrets.items()
    }


def compared(
    secrets: Mapping[str, str] | None, key: str, there: Iterable[str], kept: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """How the secrets that are there and those that are wanted look in a diff, by name.

    :param secrets: those that are wanted; None where whatever is there stays.
    :param there: the names of those that the server has.
    :param kept: the hashes that were kept with them.
    """
    before = dict.fromkeys(sorted(there), HIDDEN)
    if secrets is None:
        return before, before
    after = {
        name: HIDDEN if name not in before or matches(secret, key, kept.get(name)) else f"{HIDDEN} (changed)"
        for name, secret in sorted(secrets.items())
    }
    return before, after


def flat(option: str, values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Secrets by their dotted names, as in ``hmacConfig.secret``; empty ones are none.

    :raises InputError: for what is no text; the message doesn't show it.
    """
    made: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            made |= flat(option, value, f"{name}.")
        elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
            if value is not None:
                raise InputError(f"{option}.{name}: must be a text")
        elif str(value):
            made[name] = str(value)
    return made


def check_addresses(where: str, value: Any) -> None:
    """Refuse credentials in addresses: they would be shown, by Grafana too.

    :raises InputError: without showing them.
    """
    if isinstance(value, Mapping):
        for key, one in value.items():
            check_addresses(f"{where}.{key}" if where else str(key), one)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            check_addresses(f"{where}[{number}]", one)
    elif isinstance(value, str) and CREDENTIALS.search(value):
        raise InputError(f"{where}: must have no credentials in the address; give them as secrets")


def nested(values: Mapping[str, Any], into: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a tree with values put in at their dotted names."""
    made: dict[str, Any] = {key: nested({}, one) if isinstance(one, Mapping) else one for key, one in into.items()}
    for name, value in values.items():
        *parents, last = name.split(".")
        place = made
        for parent in parents:
            held = place.get(parent)
            place[parent] = held if isinstance(held, dict) else {}
            place = place[parent]
        place[last] = value
    return made


def redacted(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names of what Grafana hides in settings."""
    for key, value in settings.items():
        if value == REDACTED:
            yield f"{prefix}{key}"
        elif isinstance(value, Mapping):
            yield from redacted(value, f"{prefix}{key}.")


def without(settings: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """A copy of settings without these dotted names, nor what that leaves empty."""
    gone = set(names)

    def cut(tree: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        made = {}
        for key, value in tree.items():
            name = f"{prefix}{key}"
            if name in gone:
                continue
            if isinstance(value, Mapping) and any(one.startswith(f"{name}.") for one in gone):
                value = cut(value, f"{name}.")
                if not value:
                    continue
            made[str(key)] = value
        return made

    return dict(plain(cut(settings, "")))
