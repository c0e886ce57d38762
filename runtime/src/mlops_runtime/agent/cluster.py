# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The cluster behind the agent: the seam's backend, and the stream of events that the target has."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from _workload import Backend, Observed, backend

from .settings import Settings

# What changes tasks, seen by the engine that the agent talks to. Health checks would add two events every second.
_DOCKER_EVENTS = {
    "type": ["container", "service", "node"],
    "event": ["die", "health_status", "start", "kill", "create", "update", "remove"],
}


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


def docker_events() -> Iterator[object]:
    """An item for every event of this node's engine and of the Swarm; ends when the connection does."""
    import docker  # On another target the SDK isn't there.

    client = docker.APIClient(version="auto", timeout=60)
    try:
        yield from client.events(filters=_DOCKER_EVENTS, decode=False)
    finally:
        client.close()


def no_events() -> Iterator[object]:
    """For a target without a stream: the regular looks must do."""
    return iter(())


def _registry_auth(path: Path | None, registry: str) -> dict[str, str] | None:
    if path is None or not path.exists():
        return None
    document = json.loads(path.read_bytes())
    return {"username": document["username"], "password": document["password"], "server": registry}
