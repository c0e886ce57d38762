# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The worker: `prefect worker start --type mlops-agent`. It holds no key of the cluster.

One loop looks at all jobs of the pool, whoever started them: a worker that is started anew goes on where another was.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound
from prefect.workers.base import BaseWorker, BaseWorkerResult

from .agent import POOL, Agent, AgentAway, Job, Refused
from .configuration import ClusterJobConfiguration, ClusterVariables, base_job_template
from .verdict import FINAL, Action, FlowState, verdict

POLL_SECONDS = 2.0
RETRY_SECONDS = 5.0
FOREIGN_SECONDS = 20.0
"""For so long a job's own worker has the first word about what became of it."""
LOG_LINES = 40
UNSEEN_SECONDS = 30.0
AT_ONCE = 100
"""Flow runs that are asked for in one request."""


class ClusterWorkerResult(BaseWorkerResult):  # type: ignore[misc]
    """Always of status 0: what became of the run has been told. Another report could undo somebody's retry."""


@dataclass
class _Own:
    """A run that this worker waits for."""

    flow_run: str
    done: anyio.Event = field(default_factory=anyio.Event)
    started: float = 0.0
    """When the agent has said that it is, by the loop's clock."""
    seen: bool = False
    said: str = ""

    def is_expected(self) -> bool:
        """Whether its job should be among those that there are: another agent may know of it a moment later."""
        return self.seen or (self.started > 0 and anyio.current_time() - self.started > UNSEEN_SECONDS)


class ClusterWorker(BaseWorker[ClusterJobConfiguration, ClusterVariables, ClusterWorkerResult]):  # type: ignore[misc]
    type = "mlops-agent"
    job_configuration = ClusterJobConfiguration
    job_configuration_variables = ClusterVariables
    _display_name = "Cluster, by the platform's agent"
    _description = "Each run is a job of the cluster, started by the agent of mlops.onprem: a Swarm or Kubernetes."

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._agent: Agent | None = None
        self._own: dict[str, _Own] = {}
        self._watching: anyio.CancelScope | None = None
        self._trouble = ""

    @classmethod
    def get_default_base_job_template(cls) -> dict[str, Any]:
        return base_job_template()

    @property
    def agent(self) -> Agent:
        if self._agent is None:
            raise RuntimeError("the worker has not been set up")
        return self._agent

    async def setup(self) -> None:
        self._agent = Agent.of(os.environ)
        await super().setup()
        self._runs_task_group.start_soon(self._watch)

    async def teardown(self, *exc_info: Any) -> None:
        if not any(exc_info):  # told to look once: what was found is seen to its end
            for own in list(self._own.values()):
                await own.done.wait()
        if self._watching is not None:
            self._watching.cancel()
        await super().teardown(*exc_info)
        await self.agent.close()

    async def run(
        self, flow_run: Any, configuration: ClusterJobConfiguration, task_status: Any = None
    ) -> ClusterWorkerResult:
        name = run_name(flow_run)
        body = configuration.body(name, flow_run.id, self._work_pool_name)
        own = self._own[name] = _Own(str(flow_run.id))
        try:
            await self._start(flow_run, name, body, configuration.pending_timeout)
            own.started = anyio.current_time()
            if task_status is not None:
                task_status.started(name)
            await own.done.wait()
        finally:
            self._own.pop(name, None)
        return ClusterWorkerResult(identifier=name, status_code=0)

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: ClusterJobConfiguration,  # noqa: ARG002  Prefect's words
        grace_seconds: int = 30,  # noqa: ARG002  the job has its own
    ) -> None:
        try:
            there = await self.agent.remove(infrastructure_pid)
        except (AgentAway, Refused) as error:
            raise InfrastructureNotAvailable(str(error)) from error
        if not there:
            raise InfrastructureNotFound(f"there is no job {infrastructure_pid}")

    async def _start(self, flow_run: Any, name: str, body: dict[str, Any], patience: float) -> None:
        """Asks until it is started, or refused, or nobody wants it any more."""
        log = self.get_flow_run_logger(flow_run)
        until = anyio.current_time() + patience
        said = ""
        while True:
            try:
                await self.agent.start(name, body)
                return
            except (AgentAway, Refused) as error:
                if isinstance(error, Refused) and not error.for_now:
                    raise
                if anyio.current_time() > until:
                    raise
                if str(error) != said:
                    said = str(error)
                    log.warning("Its job can't be started yet: %s", said)
            await anyio.sleep(RETRY_SECONDS)
            found = await self.client.read_flow_run(flow_run.id)
            if found.state is None or found.state.type.value not in ("PENDING", "SCHEDULED"):
                raise RuntimeError(f"the run is {found.state and found.state.name} by now")

    async def _watch(self) -> None:
        with anyio.CancelScope() as self._watching:
            while True:
                try:
                    await self._look()
                    self._trouble = ""
                except Exception as error:  # Whatever it was: the next look is another try, and runs go on without it.
                    text = f"{type(error).__name__}: {error}"
                    if text != self._trouble:
                        self._logger.warning("The runs can't be looked at: %s", text)
                    self._trouble = text
                await anyio.sleep(float(os.environ.get("MLOPS_WORKER_POLL_SECONDS") or POLL_SECONDS))

    async def _look(self) -> None:
        expected = {name: own for name, own in self._own.items() if own.is_expected()}
        jobs = [job for job in await self.agent.runs() if job.labels.get(POOL) == self._work_pool_name]
        flow_runs = await self._flow_runs(job.flow_run for job in jobs)
        newest: dict[str, datetime] = {}
        for job in jobs:
            newest[job.flow_run] = max(job.created, newest.get(job.flow_run, job.created))
        failures = []
        for job in jobs:
            try:
                await self._see(job, flow_runs.get(job.flow_run), superseded=job.created < newest[job.flow_run])
            except Exception as error:  # One that can't be dealt with must not keep the others waiting.
                failures.append(error)
        for name in set(expected) - {job.name for job in jobs}:
            await self._gone(expected[name])
        if failures:
            raise failures[0]

    async def _flow_runs(self, ids: Iterable[str]) -> dict[str, Any]:
        """By id. One that isn't there was deleted."""
        wanted = sorted({id for id in ids if _is_uuid(id)})
        found: dict[str, Any] = {}
        for begin in range(0, len(wanted), AT_ONCE):
            part = FlowRunFilterId(any_=[UUID(id) for id in wanted[begin : begin + AT_ONCE]])
            for flow_run in await self.client.read_flow_runs(flow_run_filter=FlowRunFilter(id=part), limit=AT_ONCE):
                found[str(flow_run.id)] = flow_run
        return found

    async def _see(self, job: Job, flow_run: Any, *, superseded: bool) -> None:
        own = self._own.get(job.name)
        now = datetime.now(UTC)
        if own is not None:
            own.seen = True
        else:
            now -= timedelta(seconds=FOREIGN_SECONDS)
            if job.ended and now < job.since:
                return
        found = verdict(job, flow_state(flow_run), now, superseded=superseded)
        if found.action is Action.WAIT:
            if own is not None:
                self._tell(job, flow_run, own)
            return
        if found.action is Action.CRASH:
            await self._tell_end(job, flow_run)
            await self._propose_crashed_state(flow_run, found.message)
        elif found.action is Action.CANCEL:
            await self._mark_flow_run_as_cancelled(flow_run, state_updates={"message": found.message})
        if found.action is not Action.REMOVE and not await self._is_final(flow_run):
            return  # the server was away: once more at the next look
        await self.agent.remove(job.name)
        if own is not None:
            own.done.set()

    def _tell(self, job: Job, flow_run: Any, own: _Own) -> None:
        """Why it waits, and where it runs, each once."""
        words = {"running": f"Its job runs on {job.node}", "waiting": f"Its job waits for a node: {job.reason}"}
        said = words.get(job.state, f"Its job is {job.state}{': ' if job.reason else ''}{job.reason}")
        if said != own.said and not job.ended and flow_run is not None:
            own.said = said
            level = "warning" if job.state == "waiting" and job.reason else "info"
            getattr(self.get_flow_run_logger(flow_run), level)(said)

    async def _tell_end(self, job: Job, flow_run: Any) -> None:
        lines = await self.agent.last_lines(job.name, LOG_LINES)
        if lines:
            self.get_flow_run_logger(flow_run).error("The end of its job's log:\n%s", "\n".join(lines))

    async def _gone(self, own: _Own) -> None:
        """Somebody has removed a job that this worker waits for: a cancellation, or a person."""
        flow_run = (await self._flow_runs([own.flow_run])).get(own.flow_run)
        if flow_run is not None and flow_state_type(flow_run) not in (*FINAL, "CANCELLING", "SCHEDULED"):
            await self._propose_crashed_state(flow_run, "Its job was removed.")
        own.done.set()

    async def _is_final(self, flow_run: Any) -> bool:
        found = (await self._flow_runs([str(flow_run.id)])).get(str(flow_run.id))
        return found is None or flow_state_type(found) in FINAL


def run_name(flow_run: Any) -> str:
    """One for each time that a flow run is scheduled: a retry is another job. (An id may begin with the time.)"""
    state = flow_run.state.id.hex if flow_run.state is not None else "0"
    return f"run-{flow_run.id.hex[:24]}-{state[-8:]}"


def flow_state_type(flow_run: Any) -> str:
    return str(flow_run.state.type.value) if flow_run.state is not None else "PENDING"


def flow_state(flow_run: Any) -> FlowState | None:
    if flow_run is None:
        return None
    since = flow_run.state.timestamp if flow_run.state is not None else flow_run.created
    return FlowState(flow_state_type(flow_run), since)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
