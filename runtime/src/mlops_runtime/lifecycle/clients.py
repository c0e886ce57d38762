# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Who may send alerts, read, and approve: a file of clients, which come with a password (basic) or a token (bearer)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ALERT: Final = "alert"
READ: Final = "read"
APPROVE: Final = "approve"
RIGHTS: Final = frozenset({ALERT, READ, APPROVE})
_SHORTEST: Final = 16


@dataclass(frozen=True)
class Client:
    """A client and its rights: alert, read, approve."""

    name: str
    may: frozenset[str]


class Clients:
    """The clients of a file `{name: {"secret": "...", "may": ["alert", "read", "approve"]}}`.

    A client sends its secret as the password of its name, or as a bearer token.
    """

    def __init__(self, entries: Iterable[tuple[Client, str]]) -> None:
        self._entries = [(client, _digest(client.name, secret), _digest("", secret)) for client, secret in entries]

    @classmethod
    def read(cls, path: Path) -> Clients:
        """Raises ValueError, without any secret of the file, where it can't be used."""
        try:
            document = json.loads(path.read_bytes())
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror or error}") from None
        except ValueError:
            raise ValueError(f"{path}: not JSON") from None
        if not isinstance(document, dict):
            raise ValueError(f"{path}: not an object of clients")
        entries = [_entry(path, name, entry) for name, entry in sorted(document.items())]
        if len({secret for _, secret in entries}) < len(entries):
            raise ValueError(f"{path}: two clients have the same secret")
        return cls(entries)

    def authenticate(self, authorization: str | None) -> Client | None:
        """The client that the Authorization header is of. Takes as long for any of them as for none."""
        user, secret = _given(authorization)
        given = _digest(user, secret)
        found: Client | None = None
        for client, basic, bearer in self._entries:
            if hmac.compare_digest(given, basic if user else bearer):
                found = client
        return found


def _entry(path: Path, name: str, entry: Any) -> tuple[Client, str]:
    if not isinstance(entry, Mapping) or set(entry) - {"secret", "may"}:
        raise ValueError(f"{path}: client {name} is not an object of secret and may")
    secret, may = entry.get("secret"), entry.get("may")
    if not name or ":" in name:
        raise ValueError(f"{path}: {name!r} is no client's name")
    if not isinstance(secret, str) or len(secret) < _SHORTEST:
        raise ValueError(f"{path}: client {name} needs a secret of {_SHORTEST} characters or more")
    if not isinstance(may, list) or not may or not RIGHTS.issuperset(str(right) for right in may):
        raise ValueError(f"{path}: client {name}: may is not a list of {', '.join(sorted(RIGHTS))}")
    return Client(name, frozenset(may)), secret


def _given(authorization: str | None) -> tuple[str, str]:
    """User and secret; the user is empty where there is a token alone, both where there is nothing of use."""
    scheme, _, rest = (authorization or "").partition(" ")
    if scheme.lower() == "bearer":
        return "", rest.strip()
    if scheme.lower() == "basic":
        try:
            user, _, secret = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return (user, secret) if user else ("", "")
    return "", ""


def _digest(user: str, secret: str) -> bytes:
    # Of one length whatever was sent. Secrets are long and random, so a plain hash can't be searched backwards.
    return hashlib.sha256(f"{user}:{secret}".encode(errors="replace")).digest()
