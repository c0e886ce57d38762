# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Compares what should serve with what was asked of the agent, and writes down what serves."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from mlops_runtime.contracts.digest import TAG as SHA256_TAG
from mlops_runtime.contracts.mlflow import Mlflow, MlflowError, tags_of
from mlops_runtime.contracts.tags import ENVIRONMENT, EPISODE, IMAGE, IMAGE_FROM, IMAGE_PROBLEM
from mlops_runtime.lifecycle.ledger import episodes, models, served
from mlops_runtime.lifecycle.ledger.database import Pool
from mlops_runtime.lifecycle.ledger.models import Model
from mlops_runtime.lifecycle.serving.agent import Agent, AgentError, Status
from mlops_runtime.lifecycle.serving.desired import Desired, Version, desired, documents
from mlops_runtime.lifecycle.settings import Serving

log = logging.getLogger(__name__)

_KNOWN_SECONDS: Final = 60.0
"""So long what a version runs in is taken for granted: its image may be built anew."""
_HELD_SECONDS: Final = 3.0
_AGAIN_SECONDS: Final = 120.0
"""A set that isn't as asked, and on which nobody works, is handed over again after so long."""


class Follower:
    """For one event loop; `step` is called again and again."""

    def __init__(self, pool: Pool, mlflow: Mlflow, agent: Agent, wanted: Serving) -> None:
        self._pool = pool
        self._mlflow = mlflow
        self._agent = agent
        self._wanted = wanted
        self._versions: dict[tuple[str, str], tuple[float, Version | str]] = {}
        self._asked = ""
        self._asked_at = 0.0
        self._told: dict[str, tuple[str, ...]] = {}
        self._failed: tuple[str, ...] = ()

    async def close(self) -> None:
        await self._agent.close()

    async def step(self) -> None:
        """Raises AgentError, MlflowError and psycopg.Error; the next step begins anew."""
        status = await self._agent.status()
        # First of all: what serves is known, and written down, while the registry is away.
        await self._observe(status)
        async with self._pool.connection() as connection:
            if not await models.was_read(connection):
                return
            known, last = await models.known(connection), await served.last_plans(connection)
            registered = await models.registered(connection)
        found = desired(known, await self._facts(known), last)
        await self._tell(known, found)
        document = documents(found.plans, self._wanted.platform, self._wanted.overrides)
        digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
        if last and not found.plans and not registered:
            # A registry that was emptied, or that doesn't show its models to this user.
            raise AgentError(f"the registry shows no model at all; {len(last)} are left as they are")
        holds = _holds(found, status)
        late = status.settled and not holds and time.monotonic() > self._asked_at + _AGAIN_SECONDS
        if digest != self._asked or late:
            await self._agent.want(document)
            self._asked, self._asked_at = digest, time.monotonic()
            log.info("The agent has been handed %d workloads", len(document["workloads"]))
        elif holds:
            async with self._pool.connection() as connection:
                await served.keep_plans(connection, found.plans)

    def _made(self, model: str, version: str) -> str:
        """What the run that made a version was for, as far as the registry has told; empty where no run made it."""
        _, fact = self._versions.get((model, version), (0.0, ""))
        return "" if isinstance(fact, str) else fact.episode

    async def _facts(self, known: Mapping[str, Model]) -> dict[tuple[str, str], Version | str]:
        """What the aliased versions run in."""
        wanted = {(name, version) for name, model in known.items() for version in model.aliases.values()}
        now = time.monotonic()
        self._versions = {
            key: (at, fact)
            for key, (at, fact) in self._versions.items()
            if key in wanted and now < at + (_HELD_SECONDS if isinstance(fact, str) else _KNOWN_SECONDS)
        }
        asked = sorted(wanted - self._versions.keys())
        found = await asyncio.gather(*(asyncio.to_thread(self._fact, *key) for key in asked))
        self._versions |= {key: (now, fact) for key, fact in zip(asked, found, strict=True)}
        return {key: fact for key, (_, fact) in self._versions.items()}

    def _fact(self, model: str, version: str) -> Version | str:
        """What one version runs in, or why it can't run. Blocks."""
        try:
            return read_version(self._mlflow.version(model, version), builds=self._wanted.builds_images)
        except MlflowError as error:
            if error.status != 404:
                raise
            return "the registry doesn't have it"

    async def _tell(self, known: Mapping[str, Model], found: Desired) -> None:
        """What the registry asks for in vain, once."""
        news = {name: reasons for name, reasons in found.problems.items() if self._told.get(name) != reasons}
        self._told = dict(found.problems)
        if not news:
            return
        async with self._pool.connection() as connection:
            for name, reasons in news.items():
                version = known[name].aliases.get(models.CHAMPION, "")
                await episodes.note(connection, name, version, None, "held", "; ".join(reasons))

    async def _observe(self, status: Status) -> None:
        """What is healthy, and that the set failed, once."""
        async with self._pool.connection() as connection:
            changes = await served.observe(connection, status.running, self._made)
            if status.state == "failed" and status.reasons != self._failed:
                await episodes.note(connection, "", "", None, "serving failed", "; ".join(status.reasons))
        self._failed = status.reasons if status.state == "failed" else ()
        for line in changes:
            log.info("%s", line)


def _holds(found: Desired, status: Status) -> bool:
    """Whether all that should serve does, in its version."""
    wanted = {(name, role, one.version) for name, plan in found.plans.items() for role, one in plan.roles.items()}
    return wanted <= {(one.model, one.role, one.version) for one in status.running}


def read_version(version: Mapping[str, Any], *, builds: bool) -> Version | str:
    """What the registry's version runs in, or why it can't run. `builds`: whether locks that are new get an image."""
    tags = tags_of(version)
    image, reference = tags.get(ENVIRONMENT, ""), tags.get(IMAGE, "")
    if image and tags.get(IMAGE_FROM) and not reference:
        if not builds:
            return "its lock has no image, and no image builder runs here (image_builder); declare it (mlops_models)"
        problem = tags.get(IMAGE_PROBLEM, "")
        return f"its image can't be made: {problem}" if problem else "its image is being made of its lock"
    if not image or not reference:
        return f"its tags {ENVIRONMENT} and {IMAGE} don't say which image it runs in; declare it (mlops_models)"
    return Version(str(version["version"]), image, reference, tags.get(SHA256_TAG, ""), tags.get(EPISODE, ""))
