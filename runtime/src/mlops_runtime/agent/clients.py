# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Who may change which sets: bearer tokens, and what each client's workloads may use."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LISTS = ("sets", "secrets", "zones", "connects", "egress", "hosts", "paths")


@dataclass(frozen=True)
class Client:
    """A client's rights. Everything that isn't named is refused."""

    name: str
    sets: frozenset[str] = frozenset()
    """The sets it may read, replace and remove."""
    secrets: frozenset[str] = frozenset()
    """Secrets of the site that its workloads may mount."""
    zones: frozenset[str] = frozenset({"models"})
    """Zones its workloads may live in."""
    connects: frozenset[str] = frozenset()
    """Workloads of other sets that its workloads may talk to."""
    egress: frozenset[str] = frozenset()
    """Places outside the platform that its workloads may reach, as `host:port`."""
    hosts: frozenset[str] = frozenset()
    """Host labels under the domain that its routes may take."""
    paths: tuple[str, ...] = ()
    """Path prefixes at the domain itself that its routes may take."""
    runs: bool = False
    """Whether it may start runs: jobs of its own that end by themselves."""


class Clients:
    """The clients of a tokens file: `{name: {token_sha256 | token, sets, secrets, zones, connects, egress, hosts,
    paths, runs}}`."""

    def __init__(self, entries: Iterable[tuple[str, Client]]) -> None:
        self._entries = tuple(entries)

    @property
    def runners(self) -> list[str]:
        """The names of those who may start runs."""
        return [client.name for _, client in self._entries if client.runs]

    @classmethod
    def read(cls, path: Path | None) -> Clients:
        """Reads the file once: a mounted secret never changes in place. Without a file nobody is let in.

        Raises ValueError, without any value of the file, where it can't be understood.
        """
        if path is None or not path.exists():
            return cls(())
        try:
            document = json.loads(path.read_bytes())
        except ValueError:
            raise ValueError(f"{path}: not JSON") from None
        if not isinstance(document, dict):
            raise ValueError(f"{path}: not an object of clients")
        return cls(_entry(path, name, entry) for name, entry in sorted(document.items()))

    def authenticate(self, authorization: str | None) -> Client | None:
        """The client whose token the Authorization header carries. Takes as long for any of them as for none."""
        scheme, _, token = (authorization or "").partition(" ")
        digest = _digest(token.strip() if scheme.lower() == "bearer" else "")
        found: Client | None = None
        for expected, client in self._entries:
            if hmac.compare_digest(digest, expected):
                found = client
        return found


def _entry(path: Path, name: str, entry: Any) -> tuple[str, Client]:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{path}: client {name} is not an object")
    unknown = set(entry) - {"token", "token_sha256", "runs", *_LISTS}
    if unknown:
        raise ValueError(f"{path}: client {name} has unknown keys {', '.join(sorted(unknown))}")
    token, digest = entry.get("token"), entry.get("token_sha256")
    if digest is None and isinstance(token, str) and len(token) >= 16:
        digest = _digest(token)
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest) or digest == _digest(""):
        raise ValueError(f"{path}: client {name} needs token_sha256, or a token of 16 characters or more")
    rights: dict[str, Any] = {}
    for key in _LISTS:
        value = entry.get(key)
        if value is None:
            continue
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"{path}: client {name}: {key} is not a list of strings")
        rights[key] = tuple(value) if key == "paths" else frozenset(value)
    runs = entry.get("runs", False)
    if not isinstance(runs, bool):
        raise ValueError(f"{path}: client {name}: runs is neither true nor false")
    return digest, Client(name, **rights, runs=runs)


def _digest(token: str) -> str:
    # Tokens are long and random, so a plain hash can't be searched backwards.
    return hashlib.sha256(token.encode()).hexdigest()
