# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Workloads as services of a Docker Swarm."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..base import (
    LOG_BYTES,
    Backend,
    LogLine,
    Observed,
    ObservedTask,
    Outcome,
    Progress,
    Reporter,
    Result,
    Run,
    log_lines,
)
from ..engine import Engine, EngineError
from ..errors import WorkloadError
from ..model import Workload, parse
from ..order import dependencies
from ..rendering import NO_SALT, parse_label, unknown_peers
from .images import fixed, is_pull, prepare_everywhere, prepare_here, present, pull_service
from .live import (
    Snapshot,
    active,
    bound,
    comparable,
    contents,
    differences,
    is_job,
    job_state,
    label,
    owner_problem,
    read,
    settled,
    shown,
    state,
    workload_name,
)
from .objects import Objects
from .ready import ASK, addresses
from .render import (
    IMAGE,
    KIND,
    METRICS,
    NAMESPACE,
    ROUTES,
    SET,
    ZONE,
    Facts,
    Rendered,
    Site,
    Traits,
    render,
    site_for,
)
from .rollout import Rollout, Unit
from .runs import as_run, find, remove, run_of, seconds, service_name, tasks_of

REMOVAL = 120.0  # seconds that containers and networks may take to go, beyond the grace to stop
# What changes tasks, seen by the engine that is talked to. Health checks would add two events every second.
EVENTS = {
    "type": ["container", "service", "node"],
    "event": ["die", "health_status", "start", "kill", "create", "update", "remove"],
}


@dataclass
class Plan:
    """What a run will do, known before anything is touched."""

    units: list[Unit]
    pulls: dict[str, dict[str, Any]]
    removals: dict[str, str]  # service name -> why


class SwarmBackend(Backend):
    def __init__(
        self,
        namespace: str,
        *,
        domain: str = "",
        wait_timeout: float = 300.0,
        host: str | None = None,
        registry_auth: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(namespace, domain=domain, wait_timeout=wait_timeout)
        self.host = host
        self.registry_auth = dict(registry_auth or {})
        self._engine: Engine | None = None
        self._info: dict[str, Any] = {}

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            engine = Engine(self.host, auth=self.registry_auth)
            self._info = engine.get("/info")
            swarm = self._info.get("Swarm") or {}
            if swarm.get("LocalNodeState") != "active" or not swarm.get("ControlAvailable"):
                raise WorkloadError(
                    f"The Docker engine at {engine.host} is not a manager of a Swarm: "
                    "run the role swarm_cluster first, or name a manager's engine"
                )
            self._engine = engine
        return self._engine

    @property
    def node_id(self) -> str:
        return str(self._info["Swarm"]["NodeID"])

    def apply(
        self,
        set_name: str,
        workloads: Sequence[Workload | Mapping[str, Any]],
        *,
        images: Mapping[str, str],
        secret_values: Mapping[str, str] | None = None,
        check: bool = False,
        prune: bool = True,
        progress: Progress | None = None,
    ) -> Result:
        result = Result()
        report = Reporter(result, progress)
        declared = parse(workloads)
        try:
            engine = self.engine
        except WorkloadError as error:
            if not check:
                raise
            return self._blank(set_name, declared, images, secret_values or {}, result, str(error))
        snapshot = read(engine, self.namespace)
        site = self._site(set_name, declared, images, secret_values or {}, snapshot, check)
        rendered = self._render(declared, site, snapshot, result)
        plan = self._plan(rendered, snapshot, set_name, prune)
        objects = Objects(engine, site, snapshot)
        wanted = [*rendered, *(job for item in rendered for job in item.jobs)]
        self._show(plan, wanted, snapshot, objects, result)
        if check:
            return result
        objects.create(wanted, report)
        self._remove_in_the_way(plan, snapshot, report)
        with ThreadPoolExecutor(max_workers=8) as pool:
            rollout = Rollout(
                engine,
                site,
                plan.units,
                report,
                result.workloads,
                wait_timeout=self.wait_timeout,
                node_id=self.node_id,
                images=self._prepared(plan, snapshot, report, pool),
                pool=pool,
            )
            rollout.run(snapshot)
        result.changed = result.changed or any(outcome.changed for outcome in result.workloads.values())
        failed = {name: outcome for name, outcome in result.workloads.items() if outcome.error}
        if failed:
            problems = [f"{name}: {outcome.error}" for name, outcome in failed.items()]
            raise WorkloadError(f"{len(failed)} of the workloads failed", problems=problems, result=result)
        self._collect(plan, set_name, report)
        return result

    def absent(
        self,
        set_name: str,
        *,
        names: Sequence[str] | None = None,
        remove_volumes: bool = False,
        check: bool = False,
        progress: Progress | None = None,
    ) -> Result:
        result = Result()
        report = Reporter(result, progress)
        try:
            engine = self.engine
        except WorkloadError:
            if check:
                return result
            raise
        snapshot = read(engine, self.namespace)
        doomed = {
            name: service
            for name, service in snapshot.of_set(set_name).items()
            if names is None or workload_name(service, self.namespace) in names
        }
        objects = Objects(engine, Site(self.namespace, set_name), snapshot)
        for name, service in doomed.items():
            title = workload_name(service, self.namespace)
            result.workloads[title] = Outcome("absent", True, ["removed"])
            result.before[title] = comparable(service["Spec"], snapshot.network_names)
            snapshot.services.pop(name)
        unused = objects.unused(set_name, None if names is None else doomed.values())
        volumes = objects.volumes(set_name, names) if remove_volumes else []
        pins = objects.pins(names if names is not None else None) if remove_volumes else []
        result.changed = bool(doomed or unused or volumes or pins or objects.ended(set_name, names))
        if check or not result.changed:
            return result
        for name in doomed:
            report(f"removing {name}")
            remove(engine, doomed[name], snapshot.tasks.get(doomed[name]["ID"], []))
        self._wait_gone([service["ID"] for service in doomed.values()], _longest_grace(doomed.values()))
        objects.remove_ended(objects.ended(set_name, names))
        objects.remove(unused, report, REMOVAL)
        objects.remove_volumes(volumes, report, REMOVAL)
        objects.remove_pins(pins)
        return result

    def observe(self, set_name: str | None = None) -> list[Observed]:
        engine = self.engine
        snapshot = read(engine, self.namespace, objects=False)
        snapshot.nodes = engine.get("/nodes")
        found = []
        for service in snapshot.services.values():
            owner = label(service, SET)
            if label(service, NAMESPACE) != self.namespace or owner is None or label(service, KIND) in (ASK, "pull"):
                continue
            if set_name is None or owner == set_name:
                found.append(self._observed(service, snapshot))
        return sorted(found, key=lambda item: (item.set_name, item.name))

    def logs(self, name: str, *, lines: int = 50) -> list[str]:
        for service in read(self.engine, self.namespace, objects=False).services.values():
            if workload_name(service, self.namespace) == name:
                return self.engine.log_lines(f"/services/{service['ID']}/logs", lines)
        raise WorkloadError(f"There is no workload {name!r} in {self.namespace}")

    def events(self) -> Iterator[object]:
        yield from self.engine.events(EVENTS)

    def start(
        self,
        set_name: str,
        workload: Workload,
        *,
        images: Mapping[str, str],
        secret_values: Mapping[str, str] | None = None,
    ) -> None:
        engine = self.engine
        snapshot = read(engine, self.namespace)
        if service_name(self.namespace, workload.name) in snapshot.services:
            return
        site = self._site(set_name, [workload], images, secret_values or {}, snapshot, False)
        [rendered] = self._render([workload], site, snapshot, Result())
        run = as_run(rendered)
        Objects(engine, site, snapshot).create([run], Reporter(Result(), None))
        try:
            engine.post("/services/create", bound(run.spec, snapshot), auth=True)
        except EngineError as error:
            if error.status != 409:  # the same one, asked for twice
                raise

    def runs(self, set_name: str) -> list[Run]:
        engine = self.engine
        services = find(engine, self.namespace, set_name)
        if not services:
            return []
        tasks = tasks_of(engine, services)
        nodes = {str(node["ID"]): node for node in engine.get("/nodes")}
        found = [run_of(service, tasks[service["ID"]], nodes) for service in services]
        return sorted(found, key=lambda run: run.name)

    def run_log(self, set_name: str, name: str, *, since: str = "", lines: int = 200) -> list[LogLine]:
        services = find(self.engine, self.namespace, set_name, name)
        tasks = [task for found in tasks_of(self.engine, services).values() for task in found]
        if not tasks:
            return []
        text = self.engine.stamped_log(f"/tasks/{tasks[0]['ID']}/logs", seconds(since), lines, LOG_BYTES)
        return log_lines(text, since, lines, last=not since)

    def remove_run(self, set_name: str, name: str) -> bool:
        engine = self.engine
        services = find(engine, self.namespace, set_name, name)
        tasks = tasks_of(engine, services)
        for service in services:
            remove(engine, service, tasks[service["ID"]])
        # What other runs have in common with it stays for as long as any of them is there.
        snapshot = read(engine, self.namespace)
        objects = Objects(engine, Site(self.namespace, set_name), snapshot)
        objects.remove(objects.unused(set_name, ()), Reporter(Result(), None), REMOVAL)
        objects.remove_ended(objects.ended(set_name))
        return bool(services)

    def facts(self, images: Mapping[str, str]) -> dict[str, Any]:
        engine = self.engine
        snapshot = read(engine, self.namespace, objects=False)
        snapshot.nodes = engine.get("/nodes")
        facts = self._facts(snapshot)
        return {**facts.to_dict(), "images": self._fixed(images, images, facts.traits.nodes, True)}

    def _site(
        self,
        set_name: str,
        declared: Sequence[Workload],
        images: Mapping[str, str],
        secret_values: Mapping[str, str],
        snapshot: Snapshot | None,
        check: bool,
    ) -> Site:
        # What this machine's engine will be isn't known where there is none: refuse nothing because of it.
        facts = Facts(NO_SALT, traits=Traits(socket_group=0)) if snapshot is None else self._facts(snapshot)
        if snapshot is not None:
            used = {item.image for workload in declared for item in (workload, *workload.jobs)}
            images = {**images, **self._fixed(used, images, facts.traits.nodes, check)}
        return site_for(
            self.namespace,
            set_name,
            declared,
            domain=self.domain,
            images=images,
            secret_values=secret_values,
            registry_auth=self.registry_auth,
            facts=facts,
            lenient=check,
        )

    def _facts(self, snapshot: Snapshot) -> Facts:
        return Facts(
            salt=str(self._info["Swarm"]["Cluster"]["ID"]),
            zone_of={
                workload_name(service, self.namespace): label(service, ZONE) for service in snapshot.services.values()
            },
            traits=Traits(
                api=self.engine.api,
                log_driver=str(self._info.get("LoggingDriver")),
                socket=self.engine.socket,
                socket_group=self.engine.socket_group,
                nodes=len(snapshot.nodes),
                no_new_privileges=self.engine.daemon_options.get("no-new-privileges") is True,
            ),
        )

    def _fixed(self, used: Iterable[str], images: Mapping[str, str], nodes: int, lenient: bool) -> dict[str, str]:
        """The references of the images that are used, each one by digest or id."""
        found = {}
        problems = []
        for name in sorted(set(used) & set(images)):
            try:
                found[name] = fixed(self.engine, images[name], nodes)
            except WorkloadError as error:
                if not lenient:
                    problems.append(f"images.{name}: {error}")
        if problems:
            raise WorkloadError("Images that can't be had", problems=problems)
        return found

    def _render(
        self, declared: Sequence[Workload], site: Site, snapshot: Snapshot | None, result: Result
    ) -> list[Rendered]:
        problems: list[str] = []
        rendered = [render(workload, site, problems) for workload in declared]
        if not site.lenient:
            problems += unknown_peers(declared, site.zone_of)
        for one in rendered:
            service = snapshot.services.get(one.name) if snapshot else None
            problem = owner_problem(service, one, site.set_name) if service else None
            if problem:
                problems.append(problem)
        if problems:
            raise WorkloadError("The workloads can't be run on this Swarm", problems=problems)
        for one in rendered:
            result.notes += [note for note in one.notes if note not in result.notes]
        return rendered

    def _plan(self, rendered: Sequence[Rendered], snapshot: Snapshot, set_name: str, prune: bool) -> Plan:
        waits = dependencies([item.workload for item in rendered])
        units: list[Unit] = []
        for item in rendered:
            needs = set(waits[item.workload.name])
            before: set[str] = set()
            for job in item.jobs:
                peers = {name for name in job.workload.connects if name in needs}
                units.append(self._unit(job, snapshot, peers | before))
                before = {job.workload.name}
            needs |= {job.workload.name for job in item.jobs}
            units.append(self._unit(item, snapshot, needs))
        kept = {unit.rendered.name for unit in units}
        pulls: dict[str, dict[str, Any]] = {}
        if len(snapshot.nodes) > 1:
            for unit in units:
                spec = pull_service(self.namespace, set_name, unit.rendered.image, self._placed(unit.rendered))
                kept.add(spec["Name"])
                if unit.changes and not present(snapshot, spec):
                    pulls[unit.name] = spec
        declared = {unit.name for unit in units}
        removals = {}
        for name, service in snapshot.of_set(set_name).items():
            if name in kept:
                continue
            # A part of a set says nothing about the jobs and images of the rest.
            asked = label(service, KIND) == ASK
            if prune or asked or (is_job(service) and workload_name(service, self.namespace) in declared):
                stale = asked or is_pull(service) or is_job(service)
                removals[name] = "no longer needed" if stale else "no longer declared"
        return Plan(units, pulls, removals)

    def _placed(self, rendered: Rendered) -> list[str]:
        """Where the image is needed; the pin comes only with the rollout, and says less than the rest to new nodes."""
        return [item for item in rendered.constraints if not item.startswith("node.labels.mlops.pin.")]

    def _unit(self, rendered: Rendered, snapshot: Snapshot, needs: set[str]) -> Unit:
        service = snapshot.services.get(rendered.name)
        if service is None:
            again = rendered.workload.is_job and any(
                workload_name(other, self.namespace) == rendered.workload.name for other in snapshot.services.values()
            )
            return Unit(rendered, "create", ["changed" if again else "new"], needs)
        if rendered.workload.is_job:
            if job_state(snapshot.tasks_of(rendered.name)) == "failed":
                return Unit(rendered, "replace", ["failed before"], needs)
            return Unit(rendered, "none", [], needs)
        live = comparable(service["Spec"], snapshot.network_names)
        why = differences(live, comparable(rendered.spec))
        if not why:
            paused = (service.get("UpdateStatus") or {}).get("State") in ("paused", "rollback_paused")
            if paused and not settled(service, snapshot.tasks_of(rendered.name)):
                return Unit(rendered, "retry", ["the last rollout was given up"], needs)
            return Unit(rendered, "none", [], needs)
        if "Replicated" not in service["Spec"]["Mode"]:
            return Unit(rendered, "replace", why, needs)
        return Unit(rendered, "update", why, needs)

    def _show(
        self, plan: Plan, wanted: Sequence[Rendered], snapshot: Snapshot, objects: Objects, result: Result
    ) -> None:
        """The plan as a result: all that check mode answers, and the diff of a real run."""
        before, after = contents(snapshot), {}
        for item in wanted:
            after.update({name: content.decode("utf-8", "replace") for name, content in item.configs.items()})
        for unit in plan.units:
            service = snapshot.services.get(unit.rendered.name)
            title = unit.name
            if unit.changes:
                result.changed = True
                if service is not None:
                    result.before[title] = shown(comparable(service["Spec"], snapshot.network_names), before)
                result.after[title] = shown(comparable(unit.rendered.spec), after)
            result.workloads[title] = Outcome(self._status(service, snapshot), unit.changes, list(unit.why))
        for name, why in plan.removals.items():
            service = snapshot.services[name]
            title = workload_name(service, self.namespace)
            result.changed = True
            if title not in result.workloads:
                result.workloads[title] = Outcome("absent", True, [why])
                result.before[title] = shown(comparable(service["Spec"], snapshot.network_names), before)
        missing = objects.missing(wanted)
        if missing:
            result.changed = True
            result.after["objects"] = missing

    def _status(self, service: Mapping[str, Any] | None, snapshot: Snapshot) -> str:
        if service is None:
            return "absent"
        tasks = snapshot.tasks.get(service["ID"], [])
        if is_job(service):
            found = job_state(tasks)
            return "starting" if found == "running" else found
        return "healthy" if settled(service, tasks) else "starting"

    def _blank(
        self,
        set_name: str,
        declared: Sequence[Workload],
        images: Mapping[str, str],
        secret_values: Mapping[str, str],
        result: Result,
        reason: str,
    ) -> Result:
        """Check mode where there is no cluster yet: everything would be created."""
        result.notes.append(f"{reason} - check mode takes everything as to be created")
        site = self._site(set_name, declared, images, secret_values, None, True)
        for item in self._render(declared, site, None, Result()):
            for one in (*item.jobs, item):
                result.workloads[one.workload.name] = Outcome("absent", True, ["new"])
                files = {name: content.decode("utf-8", "replace") for name, content in one.configs.items()}
                result.after[one.workload.name] = shown(comparable(one.spec), files)
        result.changed = bool(result.workloads)
        return result

    def _prepared(self, plan: Plan, snapshot: Snapshot, report: Reporter, pool: ThreadPoolExecutor) -> Any:
        """For a unit, the work that brings its image to the nodes; each image is brought once."""
        work: dict[str, Future[None]] = {}
        for unit in plan.units:
            if not unit.changes:
                continue
            image = unit.rendered.image
            if len(snapshot.nodes) <= 1:
                if image not in work:
                    work[image] = pool.submit(prepare_here, self.engine.clone(), image, report)
            elif unit.name in plan.pulls:
                spec = plan.pulls[unit.name]
                if spec["Name"] not in work:
                    work[spec["Name"]] = pool.submit(
                        prepare_everywhere,
                        self.engine.clone(),
                        spec,
                        report,
                        self.namespace,
                        max(self.wait_timeout, 600.0),
                    )

        def of(unit: Unit) -> Future[None] | None:
            if len(snapshot.nodes) <= 1:
                return work.get(unit.rendered.image)
            return work.get(plan.pulls[unit.name]["Name"]) if unit.name in plan.pulls else None

        return of

    def _remove_in_the_way(self, plan: Plan, snapshot: Snapshot, report: Reporter) -> None:
        """A service that goes away holds no port of the host that another one wants now."""
        wanted: set[tuple[Any, Any]] = set()
        for unit in plan.units:
            if unit.changes:
                wanted |= _published(unit.rendered.spec)
        for name in list(plan.removals):
            service = snapshot.services[name]
            if _published(service["Spec"]) & wanted:
                report(f"removing {name}: it holds a port that is wanted")
                self.engine.delete(f"/services/{service['ID']}")
                self._wait_gone([service["ID"]], _longest_grace([service]))
                plan.removals.pop(name)
                snapshot.services.pop(name)

    def _collect(self, plan: Plan, set_name: str, report: Reporter) -> None:
        """After convergence: what is no longer declared, then the objects that nobody uses any more."""
        snapshot = read(self.engine, self.namespace)
        gone = []
        for name in plan.removals:
            service = snapshot.services.pop(name, None)
            if service is not None:
                report(f"removing {name}")
                remove(self.engine, service, snapshot.tasks.get(service["ID"], []))
                gone.append(service)
        objects = Objects(self.engine, Site(self.namespace, set_name), snapshot)
        unused = objects.unused(set_name, gone)
        if gone and unused.networks:
            self._wait_gone([service["ID"] for service in gone], _longest_grace(gone))
        if gone:
            objects.remove_ended(objects.ended(set_name))
        objects.remove(unused, report, REMOVAL)

    def _wait_gone(self, ids: list[str], grace: float) -> None:
        """Tasks of a removed service remain until their containers have stopped."""
        until = time.monotonic() + grace + REMOVAL
        left = set(ids)
        up = {node["ID"] for node in self.engine.get("/nodes") if node["Status"]["State"] == "ready"}
        while left and time.monotonic() < until:
            left = {
                task["ServiceID"]
                for task in self.engine.get("/tasks")
                if task.get("ServiceID") in left
                and task.get("NodeID") in up
                and state(task) in ("running", "starting", "preparing", "ready")
            }
            if left:
                time.sleep(0.2)

    def _observed(self, service: Mapping[str, Any], snapshot: Snapshot) -> Observed:
        tasks = snapshot.tasks.get(service["ID"], [])
        down = {node["ID"] for node in snapshot.nodes if node["Status"]["State"] != "ready"}
        listed = tasks if is_job(service) else active(tasks)
        own = service["Spec"].get("Labels") or {}
        container = service["Spec"]["TaskTemplate"].get("ContainerSpec") or {}
        return Observed(
            name=workload_name(service, self.namespace),
            set_name=str(own.get(SET)),
            kind=str(own.get(KIND) or "service"),
            image=str(own.get(IMAGE) or container.get("Image")),
            zone=own.get(ZONE),
            replicas=int(service["Spec"]["Mode"].get("Replicated", {}).get("Replicas", 0)),
            routes=parse_label(own.get(ROUTES)) or [],
            metrics=parse_label(own.get(METRICS)),
            labels={key: value for key, value in own.items() if not key.startswith("mlops.")},
            tasks=[self._observed_task(task, snapshot, down) for task in listed],
            status=self._status(service, snapshot),
        )

    def _observed_task(self, task: Mapping[str, Any], snapshot: Snapshot, down: set[str]) -> ObservedTask:
        error = task["Status"].get("Err")
        return ObservedTask(
            id=task["ID"],
            node=snapshot.node_name(task.get("NodeID")),
            state=state(task),
            healthy=state(task) == "running" and task.get("NodeID") not in down,
            addresses=addresses(task, self.namespace),
            error=str(error) if error else None,
            since=str(task["Status"].get("Timestamp") or ""),
            container=(task["Status"].get("ContainerStatus") or {}).get("ContainerID"),
        )


def _published(spec: Mapping[str, Any]) -> set[tuple[Any, Any]]:
    ports = (spec.get("EndpointSpec") or {}).get("Ports") or []
    return {(port.get("PublishedPort"), port.get("Protocol") or "tcp") for port in ports}


def _longest_grace(services: Iterable[Mapping[str, Any]]) -> float:
    graces = [
        (service["Spec"]["TaskTemplate"].get("ContainerSpec") or {}).get("StopGracePeriod") or 0 for service in services
    ]
    return max(graces, default=0) / 10**9
