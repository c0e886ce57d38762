# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The last known state of the cluster, and the gateway's configuration made of it, ready to be sent."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

from _workload import Observed

from . import metrics
from .readiness import Target, Verdict, ask_all
from .settings import Settings
from .traefik import Readiness, Route, Routed, configuration

log = logging.getLogger(__name__)

ZONE = "edge"
ASK_AGAIN_SECONDS = 0.5
ASK_TIMEOUT_SECONDS = 1.0


class State:
    """Lives in the event loop. Everything that is asked often is made once, when something has changed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._changed = asyncio.Event()
        self._verdicts: dict[str, Verdict] = {}
        self._seen_at: float | None = None
        self.observed: tuple[Observed, ...] | None = None
        self.error: str | None = None
        """Why the last look at the cluster failed; None if it didn't."""
        self.body: bytes | None = None
        self.etag = ""

    def see(self, observed: Sequence[Observed]) -> None:
        """Takes what was observed."""
        self.observed, self.error, self._seen_at = tuple(observed), None, time.monotonic()
        metrics.OBSERVED_AT.set_to_current_time()
        self._changed.set()

    def fail(self, error: str) -> None:
        """Keeps what is known, and why it may be old."""
        self.error = error

    @property
    def age(self) -> float | None:
        """Seconds since the cluster was last seen."""
        return None if self._seen_at is None else time.monotonic() - self._seen_at

    async def follow(self) -> None:
        """Makes the configuration anew whenever something has changed, for ever."""
        while True:
            undecided = bool(self._undecided())
            try:
                await asyncio.wait_for(self._changed.wait(), ASK_AGAIN_SECONDS if undecided else None)
            except TimeoutError:
                pass
            self._changed.clear()
            try:
                await self.refresh()
            except Exception:  # The routes that are known must go on being told.
                log.exception("The configuration can't be made anew")
                await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def refresh(self) -> None:
        """Takes dead tasks out at once, and new ones in as soon as they say that they are ready."""
        self._forget()
        if self.body is not None:
            self._build()
        undecided = self._undecided()
        if undecided:
            answers = await ask_all(undecided.values(), ASK_TIMEOUT_SECONDS)
            self._verdicts |= {task: answers[target] for task, target in undecided.items()}
        if self.observed is not None:
            self._build()
            _count(self.observed, self.routed())

    def routed(self) -> list[Routed]:
        """The workloads with routes, each with the addresses of its tasks that may take requests."""
        domain = self._settings.domain
        return [_routed(item, self._verdicts, domain) for item in self.observed or () if item.routes]

    def _undecided(self) -> dict[str, Target]:
        """Tasks that run and haven't said yet that they are ready."""
        found = {}
        for item in self.observed or ():
            readiness = _readiness(item)
            if readiness is None:
                continue
            for task in item.tasks:
                address = task.addresses.get(ZONE)
                if task.healthy and address and self._verdicts.get(task.id) is not Verdict.READY:
                    found[task.id] = Target(address, readiness.port, readiness.path, readiness.headers)
        return found

    def _forget(self) -> None:
        alive = {task.id for item in self.observed or () for task in item.tasks if task.healthy}
        self._verdicts = {task: verdict for task, verdict in self._verdicts.items() if task in alive}

    def _build(self) -> None:
        settings = self._settings
        document = configuration(self.routed(), settings.domain, settings.domain_aliases, settings.tls)
        body = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        if body == self.body:
            return
        self.body, self.etag = body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        metrics.CONFIGURATIONS.inc()


def _routed(item: Observed, verdicts: dict[str, Verdict], domain: str) -> Routed:
    readiness = _readiness(item)
    running = [(task, task.addresses[ZONE]) for task in item.tasks if task.healthy and task.addresses.get(ZONE)]
    addresses = [address for task, address in running if readiness is None or verdicts.get(task.id) is Verdict.READY]
    if not addresses:
        # None of them is known to be ready: those that haven't been asked yet, or say nothing, may answer the gateway.
        addresses = [address for task, address in running if verdicts.get(task.id) is not Verdict.NOT_READY]
    return Routed(item.name, tuple(_route(route, domain) for route in item.routes), tuple(addresses), readiness)


def _route(route: dict[str, Any], domain: str) -> Route:
    host = route.get("host")
    return Route(
        name=route["name"],
        port=int(route["port"]),
        host=host if host and host != domain else None,
        path=route.get("path") or "/",
        headers=route.get("headers") or {},
        scheme=route.get("scheme") or "http",
        strip_path=bool(route.get("strip_path")),
        priority=route.get("priority"),
    )


def _readiness(item: Observed) -> Readiness | None:
    for route in item.routes:
        probe = route.get("readiness")
        if probe:
            optional = {name: float(probe[name]) for name in ("interval", "timeout") if probe.get(name)}
            return Readiness(int(probe["port"]), probe.get("path") or "/", probe.get("headers") or {}, **optional)
    return None


def _count(observed: Iterable[Observed], routed: Iterable[Routed]) -> None:
    for gauge in (metrics.TASKS, metrics.TASKS_WANTED, metrics.SERVERS):
        gauge.clear()
    for item in observed:
        if item.kind == "service":
            metrics.TASKS.labels(item.set_name, item.name).set(sum(task.healthy for task in item.tasks))
            metrics.TASKS_WANTED.labels(item.set_name, item.name).set(item.replicas)
    for service in routed:
        for route in service.routes:
            metrics.SERVERS.labels(f"{service.workload}_{route.name}").set(len(service.addresses))
