# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The cluster behind the agent: the seam's backend, for looks, for its events and for clients' sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from _workload import Backend, Observed
from _workload.backends import backend

from .settings import Settings


def connector(settings: Settings) -> Callable[[], Backend]:
    """Makes backends: they hold connections of their own, so each thread needs one."""
    auth = _registry_auth(settings.registry_auth_file, settings.registry)

    def connect() -> Backend:
        return backend(
            settings.target,
            settings.namespace,
            domain=settings.domain,
            wait_timeout=settings.wait_seconds,
            registry_auth=auth,
            kubernetes=settings.kubernetes or None,
        )

    return connect


def looker(connect: Callable[[], Backend]) -> Callable[[], list[Observed]]:
    """Looks through one connection as long as it holds, and makes a new one after a failure. For one thread."""
    kept: list[Backend] = []

    def observe() -> list[Observed]:
        try:
            if not kept:
                kept.append(connect())
            observed: list[Observed] = kept[0].observe()
        except Exception:
            kept.clear()
            raise
        return observed

    return observe


def listener(connect: Callable[[], Backend]) -> Callable[[], Iterator[object]]:
    """An item whenever the cluster says that something may have changed, on a connection of its own; ends with it."""

    def events() -> Iterator[object]:
        yield from connect().events()

    return events


def _registry_auth(path: Path | None, registry: str) -> dict[str, str] | None:
    if path is None or not path.exists():
        return None
    document = json.loads(path.read_bytes())
    return {"username": document["username"], "password": document["password"], "server": registry}
