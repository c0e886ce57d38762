# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Starts and updates services, as many at a time as their order allows, and waits on what the cluster says."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..base import Outcome, Reporter
from ..engine import Engine, EngineError
from ..errors import WorkloadError
from .live import (
    FAILED,
    ROLLING,
    Snapshot,
    active,
    bound,
    comparable,
    job_state,
    read,
    same_task,
    settled,
    state,
)
from .ready import ask
from .render import Rendered, Site, start_budget

POLL = 0.3
STUCK = 30.0  # seconds without a node that could take the task
CRASHES = 3  # failed tasks after which a first start is given up
LOG_LINES = 20


@dataclass
class Unit:
    """One service or job on its way. action: none, create, update, replace (remove and create), retry."""

    rendered: Rendered
    action: str
    why: list[str]
    needs: set[str]
    phase: str = "waiting"
    deadline: float = 0.0
    posted: bool = False
    stuck_since: float | None = None
    failed_before: set[str] = field(default_factory=set)
    template: dict[str, Any] | None = None
    asking: Future[str | None] | None = None
    unready: str = ""
    failure: str = ""
    said: str = ""

    @property
    def name(self) -> str:
        return self.rendered.workload.name

    @property
    def changes(self) -> bool:
        return self.action != "none"

    @property
    def window(self) -> float:
        """Seconds that an update may take: the health window, or what the probes allow, for each batch."""
        workload = self.rendered.workload
        batches = math.ceil(max(workload.replicas, 1) / workload.update.batch)
        return max(workload.update.health_window, start_budget(workload)) * batches + workload.stop_grace + 10


class Rollout:
    def __init__(
        self,
        engine: Engine,
        site: Site,
        units: Sequence[Unit],
        report: Reporter,
        outcomes: dict[str, Outcome],
        *,
        wait_timeout: float,
        node_id: str,
        images: Callable[[Unit], Future[None] | None],
        pool: ThreadPoolExecutor,
    ) -> None:
        self.engine = engine
        self.site = site
        self.units = {unit.name: unit for unit in units}
        self.report = report
        self.outcomes = outcomes
        self.wait_timeout = wait_timeout
        self.node_id = node_id
        self.images = images
        self.pool = pool
        self.objects: Snapshot | None = None

    def run(self, snapshot: Snapshot) -> None:
        """``snapshot`` must know the networks, configs and secrets that specs name. Failures are in the outcomes."""
        self.objects = snapshot
        while True:
            for unit in self.units.values():
                try:
                    self._advance(unit, snapshot)
                except WorkloadError as error:
                    self._fail(unit, snapshot, str(error), log=False)
            if all(unit.phase in ("done", "failed") for unit in self.units.values()):
                return
            time.sleep(POLL)
            snapshot = self._read()

    def _read(self) -> Snapshot:
        """Outlives an engine that is restarted meanwhile."""
        until = time.monotonic() + 60
        while True:
            try:
                found = read(self.engine, self.site.namespace, objects=False)
                break
            except EngineError as error:
                if (error.status and error.status != 503) or time.monotonic() > until:
                    raise
                time.sleep(1)
        if self.objects is None:
            raise AssertionError("self.objects")
        found.nodes = self.objects.nodes
        return found

    def _advance(self, unit: Unit, snapshot: Snapshot) -> None:
        if unit.phase == "waiting":
            self._begin(unit, snapshot)
        elif unit.phase == "rolling" and unit.rendered.workload.is_job:
            self._watch_job(unit, snapshot)
        elif unit.phase == "rolling":
            self._watch(unit, snapshot)
        elif unit.phase == "asking":
            self._ask(unit, snapshot)
        elif unit.phase == "returning":
            self._watch_return(unit, snapshot)

    def _begin(self, unit: Unit, snapshot: Snapshot) -> None:
        peers = [self.units[name] for name in unit.needs]
        broken = [peer.name for peer in peers if peer.phase == "failed"]
        if broken:
            unit.phase = "failed"
            error = f"waits for {', '.join(broken)}, which failed"
            self.outcomes[unit.name] = Outcome("waiting", False, unit.why, error)
            return
        if any(peer.phase != "done" for peer in peers):
            return
        if unit.changes:
            image = self.images(unit)
            if image is not None:
                if not image.done():
                    return
                image.result()
        unit.failed_before = {task["ID"] for task in snapshot.tasks_of(unit.rendered.name) if state(task) in FAILED}
        service = snapshot.services.get(unit.rendered.name)
        if unit.changes:
            if unit.action in ("update", "retry") and _keeps_failing(snapshot.tasks_of(unit.rendered.name)):
                # Swarm may leave two tasks in one slot for good when it updates start-first what never gets healthy.
                unit.action = "replace"
            self._send(unit, service)
            unit.deadline = time.monotonic() + (self.wait_timeout if unit.action == "create" else unit.window)
            if unit.rendered.workload.is_job:
                unit.deadline = time.monotonic() + self.wait_timeout
            unit.phase = "rolling"
            return
        unit.deadline = time.monotonic() + self.wait_timeout
        if service is not None and (service.get("UpdateStatus") or {}).get("State") in ROLLING:
            unit.deadline = time.monotonic() + unit.window
        unit.phase = "rolling"
        self._advance(unit, snapshot)  # what has settled already is done in this very round

    def _send(self, unit: Unit, service: Mapping[str, Any] | None) -> None:
        rendered = unit.rendered
        if self.objects is None:
            raise AssertionError("self.objects")
        what = "job" if rendered.workload.is_job else "service"
        self.report(f"{unit.name}: {unit.action} {what} ({', '.join(unit.why)})")
        if unit.action == "replace" and service is not None:
            self.engine.delete(f"/services/{service['ID']}")
            unit.failed_before.clear()
        spec = bound(rendered.spec, self.objects, service if unit.action in ("update", "retry") else None)
        if unit.action in ("create", "replace"):
            self.engine.post("/services/create", spec, auth=True)
        else:
            self._update(rendered.name, spec)
        unit.posted = True
        live = self.engine.get(f"/services/{rendered.name}")
        unit.template = live["Spec"]["TaskTemplate"]
        names = {network["Id"]: name for name, network in self.objects.networks.items()}
        if comparable(live["Spec"], names) != comparable(rendered.spec):
            raise WorkloadError("the engine dropped a part of the service's declaration: it doesn't know it")

    def _update(self, name: str, spec: Mapping[str, Any] | None, **params: str) -> None:
        """The version moves while Swarm works on the service: read it again and repeat."""
        for attempt in range(8):
            service = self.engine.get(f"/services/{name}")
            version = str(service["Version"]["Index"])
            try:
                self.engine.post(
                    f"/services/{service['ID']}/update", spec or service["Spec"], auth=True, version=version, **params
                )
                return
            except EngineError as error:
                if "out of sequence" not in str(error) or attempt == 7:
                    raise
                time.sleep(0.1)

    def _watch(self, unit: Unit, snapshot: Snapshot) -> None:
        service = snapshot.services.get(unit.rendered.name)
        if service is None:
            self._fail(unit, snapshot, "somebody has removed the service meanwhile: run again")
            return
        update = (service.get("UpdateStatus") or {}).get("State") or ""
        tasks = snapshot.tasks_of(unit.rendered.name)
        if update.startswith("rollback") and unit.template not in (None, service["Spec"]["TaskTemplate"]):
            unit.failure = self._reason(unit, tasks, service)
            unit.phase = "returning"
            unit.deadline = time.monotonic() + unit.window
            self.report(f"{unit.name}: failed, the old version comes back")
            return
        if unit.template is None:
            unit.template = service["Spec"]["TaskTemplate"]
        if update == "paused":
            self._fail(unit, snapshot, self._reason(unit, tasks, service))
            return
        if settled(service, tasks):
            unit.phase = "asking"
            self._ask(unit, snapshot)
            return
        self._tell(unit, tasks)
        crashed = [task for task in tasks if state(task) in FAILED and task["ID"] not in unit.failed_before]
        problem = self._stuck(unit, tasks)
        if problem is None and len(crashed) >= CRASHES and update not in ROLLING:
            problem = self._reason(unit, tasks, service)
        if problem is None and time.monotonic() > unit.deadline:
            problem = f"not healthy in time; {self._reason(unit, tasks, service)}"
        if problem is not None:
            self._give_up(unit, snapshot, service, problem)

    def _ask(self, unit: Unit, snapshot: Snapshot) -> None:
        """Waits until the readiness probe answers, where it isn't what Swarm asks already."""
        service = snapshot.services.get(unit.rendered.name)
        probe = unit.rendered.readiness
        if service is None or probe is None or unit.rendered.workload.replicas == 0:
            self._done(unit, "healthy")
            return
        if unit.asking is not None and unit.asking.done():
            problem = unit.asking.result()
            unit.asking = None
            if problem is None:
                self._done(unit, "healthy")
                return
            unit.unready = problem
            if unit.said != "unready":
                unit.said = "unready"
                self.report(f"{unit.name}: healthy, not ready yet")
        tasks = snapshot.tasks_of(unit.rendered.name)
        if not settled(service, tasks):
            unit.asking = None
            unit.phase = "rolling"
            return
        if time.monotonic() > unit.deadline:
            self._give_up(unit, snapshot, service, f"never got ready: {unit.unready}")
            return
        if unit.asking is None:
            running = [task for task in active(tasks) if same_task(task, service)]
            unit.asking = self.pool.submit(ask, self.engine.clone(), self.site, unit.rendered, running, self.node_id)

    def _watch_job(self, unit: Unit, snapshot: Snapshot) -> None:
        tasks = snapshot.tasks_of(unit.rendered.name)
        if unit.rendered.name not in snapshot.services:
            self._fail(unit, snapshot, "somebody has removed the job meanwhile: run again")
            return
        found = job_state(tasks)
        if found == "completed":
            log = self._log(tasks) if unit.posted else []
            self._done(unit, "completed", log)
            return
        self._tell(unit, tasks)
        problem = self._stuck(unit, tasks)
        if found == "failed":
            problem = _error(tasks[0])
        elif problem is None and time.monotonic() > unit.deadline:
            problem = f"not finished within {self.wait_timeout:g} s"
        if problem is not None:
            self._fail(unit, snapshot, problem)

    def _watch_return(self, unit: Unit, snapshot: Snapshot) -> None:
        service = snapshot.services.get(unit.rendered.name)
        if service is None:
            self._fail(unit, snapshot, unit.failure)
        elif settled(service, snapshot.tasks_of(unit.rendered.name)):
            self._fail(unit, snapshot, f"{unit.failure}; the old version is back", status="rolled back")
        elif time.monotonic() > unit.deadline:
            self._fail(
                unit, snapshot, f"{unit.failure}; the old version did not come back either", status="rolled back"
            )

    def _give_up(self, unit: Unit, snapshot: Snapshot, service: Mapping[str, Any], problem: str) -> None:
        """Swarm itself rolls back when a task fails; one that merely hangs is for us to call back."""
        update = unit.rendered.workload.update
        ours = unit.action in ("update", "retry") or (service.get("UpdateStatus") or {}).get("State") in ROLLING
        if update.rollback and ours and service.get("PreviousSpec"):
            unit.failure = problem
            unit.phase = "returning"
            unit.deadline = time.monotonic() + unit.window
            self.report(f"{unit.name}: {problem}; calling the old version back")
            self._keep_log(unit, snapshot)
            self._update(unit.rendered.name, None, rollback="previous")
            return
        self._fail(unit, snapshot, problem)

    def _stuck(self, unit: Unit, tasks: list[dict[str, Any]]) -> str | None:
        """The scheduler's reason, when it has found no node for a while."""
        reasons = [_error(task) for task in tasks if state(task) == "pending" and task["Status"].get("Err")]
        if not reasons:
            unit.stuck_since = None
            return None
        if unit.stuck_since is None:
            unit.stuck_since = time.monotonic()
        workload = unit.rendered.workload
        patience = min(STUCK, workload.update.health_window) if unit.action in ("update", "retry") else STUCK
        if time.monotonic() - unit.stuck_since <= patience + workload.stop_grace:
            return None
        return reasons[0] + self._where_data_are(unit)

    def _where_data_are(self, unit: Unit) -> str:
        """It may run on one node only, and that node is away."""
        if self.objects is None:
            raise AssertionError("self.objects")
        for node in self.objects.nodes:
            if (node["Spec"].get("Labels") or {}).get(unit.rendered.pin or "") == "true":
                state_of = f"{node['Status']['State']}, {node['Spec'].get('Availability')}"
                return f" (its data are on {self.objects.node_name(node['ID'])}, which is {state_of})"
        return ""

    def _reason(self, unit: Unit, tasks: list[dict[str, Any]], service: Mapping[str, Any]) -> str:
        """Why the newest task of the wanted version failed, or what it is doing instead of being healthy."""
        fresh = [task for task in tasks if task["ID"] not in unit.failed_before]
        wanted = {"Spec": {"TaskTemplate": unit.template or service["Spec"]["TaskTemplate"]}}
        failed = [task for task in fresh if state(task) in FAILED]
        ours = [task for task in failed if same_task(task, wanted)]
        for task in ours or failed:
            self.outcomes[unit.name] = Outcome("failed", unit.posted, unit.why, None, self._log([task]))
            return _error(task) + self._health(task)
        for task in active(fresh):
            if state(task) != "running":
                self.outcomes[unit.name] = Outcome("failed", unit.posted, unit.why, None, self._log([task]))
                return f"its task is {state(task)}: {_error(task)}" + self._health(task)
        return str((service.get("UpdateStatus") or {}).get("Message") or "no task is running")

    def _health(self, task: Mapping[str, Any]) -> str:
        """What the health check last said, where the container is on this node."""
        container = (task["Status"].get("ContainerStatus") or {}).get("ContainerID")
        if not container or task.get("NodeID") != self.node_id:
            return ""
        found = self.engine.find(f"/containers/{container}/json") or {}
        checks = ((found.get("State") or {}).get("Health") or {}).get("Log") or []
        failed = [check for check in checks if check.get("ExitCode")]
        output = " ".join(str(failed[-1].get("Output", "")).split())[:300] if failed else ""
        return f" (health check: exit code {failed[-1]['ExitCode']}{': ' if output else ''}{output})" if failed else ""

    def _log(self, tasks: list[dict[str, Any]]) -> list[str]:
        for task in tasks:
            if (task["Status"].get("ContainerStatus") or {}).get("ContainerID"):
                lines = self.engine.log_lines(f"/tasks/{task['ID']}/logs", LOG_LINES)
                return [self._masked(line) for line in lines]
        return []

    def _masked(self, text: str) -> str:
        for value in self.site.secret_values.values():
            if len(value) >= 8:
                text = text.replace(value, "********")
        return text

    def _keep_log(self, unit: Unit, snapshot: Snapshot) -> None:
        service = snapshot.services.get(unit.rendered.name)
        if service is not None and unit.name not in self.outcomes:
            self._reason(unit, snapshot.tasks_of(unit.rendered.name), service)

    def _tell(self, unit: Unit, tasks: list[dict[str, Any]]) -> None:
        states: dict[str, int] = {}
        for task in tasks:
            if state(task) not in ("shutdown", "complete", "remove") and task["ID"] not in unit.failed_before:
                states[state(task)] = states.get(state(task), 0) + 1
        text = ", ".join(f"{count} {name}" for name, count in sorted(states.items()))
        if text and text != unit.said:
            unit.said = text
            self.report(f"{unit.name}: {text}")

    def _done(self, unit: Unit, status: str, log: list[str] | None = None) -> None:
        unit.phase = "done"
        self.outcomes[unit.name] = Outcome(status, unit.posted, unit.why, None, log or [])
        if unit.posted or unit.said:
            self.report(f"{unit.name}: {status}")

    def _fail(self, unit: Unit, snapshot: Snapshot, problem: str, *, status: str = "failed", log: bool = True) -> None:
        unit.phase = "failed"
        known = self.outcomes.get(unit.name)
        lines = known.log if known is not None else []
        if log and not lines:
            fresh = [t for t in snapshot.tasks_of(unit.rendered.name) if t["ID"] not in unit.failed_before]
            lines = self._log(fresh)
        self.outcomes[unit.name] = Outcome(status, unit.posted, unit.why, self._masked(problem), lines)
        self.report(f"{unit.name}: {status}: {self._masked(problem)}")


def _keeps_failing(tasks: list[dict[str, Any]]) -> bool:
    """Nothing of the service runs, although it should, and some of its tasks have failed: there is nothing to keep."""
    wanted = [task for task in tasks if task.get("DesiredState") in ("ready", "running")]
    healthy = any(state(task) == "running" for task in wanted)
    return bool(wanted) and not healthy and any(state(task) in FAILED for task in tasks)


def _error(task: Mapping[str, Any]) -> str:
    status = task["Status"]
    text = str(status.get("Err") or status.get("Message") or status["State"])
    return " ".join(text.split())
