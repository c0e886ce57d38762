# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What goes on all the time: the registry is read, episodes are decided on, runs are sent and followed.

Whatever is away is asked again; each step looks at the ledger anew, so that it doesn't matter where the last one ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

import psycopg
from _model_spec import deployment_name

from mlops_runtime.contracts.mlflow import Mlflow, MlflowError
from mlops_runtime.lifecycle import metrics, registry
from mlops_runtime.lifecycle.alerts import Alert, Unusable
from mlops_runtime.lifecycle.ledger import database, deciding, episodes, models, outbox, reading, stages
from mlops_runtime.lifecycle.ledger.database import Connection, LedgerError
from mlops_runtime.lifecycle.ledger.models import CHAMPION, Model
from mlops_runtime.lifecycle.ledger.refusals import Refusals
from mlops_runtime.lifecycle.pipelines import COMPLETED, CRASHED, PipelinesError, Prefect, Run
from mlops_runtime.lifecycle.problems import AGENT, LEDGER, PIPELINES, REGISTRY, Problems
from mlops_runtime.lifecycle.serving.agent import Agent, AgentError
from mlops_runtime.lifecycle.serving.follower import Follower
from mlops_runtime.lifecycle.settings import Settings
from mlops_runtime.lifecycle.verdict import State, Verdict

log = logging.getLogger(__name__)

REFUSED: Final = "refused"
OUTBOX: Final = "outbox"
_VERSION: Final = re.compile(r"[0-9]{1,9}")
_SECONDS: Final = 20.0
_PROBE_SECONDS: Final = 2.0


class NotKnownYetError(Exception):
    """The registry has never answered: whether a model is a known one can't be said."""


class Controller:
    """Everything between a webhook and a run. For one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Raises MlflowError for an address that is none."""
        self._settings = settings
        self._mlflow = Mlflow(settings.tracking, _SECONDS)
        self._prefect = Prefect(settings.prefect, settings.prefect_auth)
        self._woken: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        """Set where a step needn't wait for its turn."""
        self.pool = database.pool(settings.database)
        self.problems = Problems()
        self.refusals = Refusals()
        self._serving: Follower | None = None
        if wanted := settings.serving:
            agent = Agent(wanted.agent, wanted.token, wanted.set_name)
            self._serving = Follower(self.pool, self._mlflow, agent, wanted)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While this lasts, the loops go round."""
        await self.pool.open(wait=False)
        steps = {
            REGISTRY: self._read_registry,
            LEDGER: self._decide,
            OUTBOX: self._send,
            PIPELINES: self._follow,
            **({AGENT: self._serve} if self._serving else {}),
        }
        loops = [asyncio.create_task(self._forever(name, step)) for name, step in steps.items()]
        try:
            yield
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._prefect.close()
            if self._serving:
                await self._serving.close()
            await self.pool.close(timeout=2)

    # What comes from outside

    async def receive(self, found: Sequence[Alert | Unusable]) -> list[dict[str, str]]:
        """Alerts into the ledger, and decisions about them, in one transaction. What became of each, in order.

        Raises NotKnownYetError and psycopg.Error; then nothing was done.
        """
        async with self.pool.connection() as connection:
            await episodes.lock(connection)
            if not await models.was_read(connection):
                raise NotKnownYetError
            await self._settle(connection)
            known = await models.known(connection)
            told = [await _take(connection, item, known) for item in found]
            verdicts = await deciding.decide_all(connection, self._settings.runs)
        for item in told:
            metrics.ALERTS.labels(item["outcome"]).inc()
        self._decided(verdicts)
        return told

    async def answer(self, episode: uuid.UUID, *, approve: bool, by: str, reason: str) -> None:
        """A person's answer. Raises deciding.UnanswerableError and psycopg.Error."""
        async with self.pool.connection() as connection:
            await episodes.lock(connection)
            await deciding.answer(connection, episode, approve=approve, by=by, reason=reason)
            verdicts = await deciding.decide_all(connection, self._settings.runs)
        self._decided(verdicts)

    async def not_ready(self) -> list[str]:
        """Why nothing can be decided now; empty where it can."""
        try:
            async with self.pool.connection(_PROBE_SECONDS) as connection:
                await database.check_schema(connection)
                if not await models.was_read(connection):
                    why = self.problems.now.get(REGISTRY, "the registry is being asked")
                    return [f"the models aren't known: {why}"]
        except (psycopg.Error, LedgerError) as error:
            return [f"{LEDGER}: {error}"]
        return []

    # The loops

    async def _read_registry(self) -> None:
        found, registered = await asyncio.to_thread(registry.read, self._mlflow)
        async with self.pool.connection() as connection:
            moved = await models.keep(connection, found, registered)
            await stages.promoted(connection)
        for line in moved:
            log.info("%s", line)
            self._woken[AGENT].set()
        self.problems.over(REGISTRY)

    async def _decide(self) -> None:
        async with self.pool.connection() as connection:
            await database.check_schema(connection)
            await episodes.lock(connection)
            await self._settle(connection)
            verdicts = await deciding.decide_all(connection, self._settings.runs)
            await self.refusals.write(connection)
            counts, times = await reading.open_episodes(connection), await stages.newest(connection)
        metrics.EPISODES.clear()
        for row in counts:
            metrics.EPISODES.labels(row["model"], row["state"]).set(row["episodes"])
        for row in times:
            metrics.STAGE_SECONDS.labels(row["model"], row["stage"]).set(row["seconds"])
        self._decided(verdicts)
        self.problems.over(LEDGER)

    async def _send(self) -> None:
        while True:
            async with self.pool.connection() as connection:
                claimed = await outbox.claim(connection)
            if claimed is None:
                return
            episode, model, version = claimed["episode"], claimed["model"], claimed["version"]
            values = {"model": model, "version": version, "episode": str(episode)}
            tags = [f"mlops.{name}:{value}" for name, value in values.items()]
            try:
                run = await self._prefect.start(deployment_name(model), str(episode), values, tags)
            except PipelinesError as error:
                self.problems.say(PIPELINES, str(error))
                async with self.pool.connection() as connection:
                    await outbox.put_off(connection, episode, str(error))
                continue
            async with self.pool.connection() as connection:
                news = await outbox.sent(connection, episode, run)
            if news:
                metrics.RUNS.labels("started").inc()
                log.info("%s version %s: run %s was started", model, version, run.name)

    async def _follow(self) -> None:
        async with self.pool.connection() as connection:
            started = await outbox.started(connection)
        if not started:
            return
        runs = await self._prefect.runs(started)
        for identity, episode in started.items():
            run = runs.get(identity)
            if run and run.outcome == CRASHED and await self._resume(episode, run):
                continue
            if run and run.outcome == COMPLETED:
                # What its flow made of it stands in the registry.
                run = replace(run, reason=await asyncio.to_thread(registry.made, self._mlflow, str(episode)))
            async with self.pool.connection() as connection:
                ended = await (outbox.follow(connection, episode, run) if run else outbox.lose(connection, episode))
            if ended:
                outcome = run.outcome if run else "lost"
                metrics.RUNS.labels(outcome).inc()
                log.info("Run %s has ended: %s", run.name if run else identity, outcome)
        self.problems.over(PIPELINES)

    async def _resume(self, episode: uuid.UUID, run: Run) -> bool:
        """Whether a run whose process, node or server went is begun again; what a flow did itself is left at that."""
        async with self.pool.connection() as connection:
            seconds = await outbox.resume(connection, episode, run)
        if seconds is None:
            return False
        await self._prefect.resume(run, seconds)
        metrics.RUNS.labels("resumed").inc()
        log.info("Run %s has crashed, and is begun again: %s", run.name, run.reason)
        return True

    async def _serve(self) -> None:
        if self._serving:
            await self._serving.step()
        self.problems.over(AGENT)

    async def _forever(self, name: str, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except MlflowError as error:
                self.problems.say(REGISTRY, str(error))
            except PipelinesError as error:
                self.problems.say(PIPELINES, str(error))
            except AgentError as error:
                self.problems.say(AGENT, str(error))
            except (psycopg.Error, LedgerError) as error:
                self.problems.say(LEDGER, str(error))
            except Exception as error:  # One step's fault must not end the others.
                log.exception("The step %s failed", name)
                self.problems.say(name, f"{type(error).__name__}: {error}")
            await self._pause(name)

    async def _pause(self, name: str) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken[name].wait(), self._settings.poll_seconds)
        self._woken[name].clear()

    async def _settle(self, connection: Connection) -> None:
        await episodes.settle(connection, self._settings.settle_seconds, self._settings.silent_seconds)

    def _decided(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            metrics.DECISIONS.labels(verdict.state.value).inc()
            if verdict.state is State.ACCEPTED:
                self._woken[OUTBOX].set()


async def _take(connection: Connection, item: Alert | Unusable, known: dict[str, Model]) -> dict[str, str]:
    if isinstance(item, Unusable):
        return {"alert": item.name, "outcome": REFUSED, "reason": item.problem}
    told = {"alert": item.name, "model": item.model, "version": item.version}
    model = known.get(item.model)
    if model is None:
        return told | {"outcome": REFUSED, "reason": f"no model {item.model!r:.60} with a declaration is registered"}
    version = item.version or await episodes.version_of(connection, item) or model.aliases.get(CHAMPION, "")
    if not version:
        return told | {"outcome": REFUSED, "reason": "it has no label version, and the model has no champion"}
    if not _VERSION.fullmatch(version):
        return told | {"outcome": REFUSED, "reason": f"{version!r:.60} is no version of a model"}
    taken = await episodes.take(connection, item, version)
    episode = {"episode": str(taken.episode)} if taken.episode else {}
    return told | {"version": version, "outcome": taken.outcome, "reason": taken.reason} | episode
