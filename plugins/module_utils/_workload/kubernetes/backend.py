# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Workloads as Deployments, StatefulSets and Jobs of a Kubernetes cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..base import LOG_BYTES, Backend, LogLine, Observed, Outcome, Progress, Reporter, Result, Run, log_lines
from ..errors import WorkloadError
from ..model import Workload, parse
from ..rendering import NO_SALT, unknown_peers
from .api import Api, ApiError, selector
from .beforehand import look
from .changes import Change, DryRun
from .facts import facts_of
from .home import Home, leaving, wait_gone
from .kinds import CLAIM, JOB, POD, Key, Kind, key_of
from .live import Forbidden, Snapshot, find_namespaces, label, read, shown
from .objects import Removal, host_ports, node_ports, pull_leftovers, unneeded
from .observe import observed
from .plan import Plan, images_problems, plan_units, show
from .render import KubernetesRendered, KubernetesSite, collisions, namespaces, render, site_for
from .rollout import Rollout
from .runs import BROUGHT, as_run, run_of
from .site import KIND, NAMESPACE, SET, WORKLOAD, KubernetesFacts
from .words import words


class KubernetesBackend(Backend):
    """``kubernetes``: kubeconfig, context, storage_class, entry, cluster_domain, manage_namespaces, force_conflicts."""

    def __init__(
        self,
        namespace: str,
        *,
        domain: str = "",
        wait_timeout: float = 300.0,
        registry_auth: Mapping[str, str] | None = None,
        kubernetes: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(namespace, domain=domain, wait_timeout=wait_timeout)
        self.registry_auth = dict(registry_auth or {})
        self.options = {key: value for key, value in (kubernetes or {}).items() if value is not None}
        self._api: Api | None = None

    @property
    def api(self) -> Api:
        if self._api is None:
            self._api = Api(self.options.get("kubeconfig"), self.options.get("context"))
        return self._api

    @property
    def manage(self) -> bool:
        return bool(self.options.get("manage_namespaces", True))

    @property
    def force(self) -> bool:
        return bool(self.options.get("force_conflicts", False))

    @property
    def namespaces(self) -> list[str]:
        """Those that may be ours, there or not."""
        return list(KubernetesSite(self.namespace, "", entry=self.options.get("entry") or "host_port").namespaces)

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
        secret_values = secret_values or {}
        snapshot = self._snapshot(result, report, check)
        missing = snapshot.namespaces.get(self.namespace) is None
        site = self._site(set_name, declared, images, secret_values, snapshot, check)
        rendered = self._render(declared, site, result)
        home = Home(self.api, self.namespace, manage=self.manage, force=self.force) if self._api else None
        if home is None:
            return self._blank(rendered, result)
        shared = namespaces(site, self.registry_auth, site.entry == "host_port" and bool(site.published))
        home.check([thing for thing in shared if thing["kind"] == "Namespace"], snapshot)
        if not check:
            home.make([thing for thing in shared if thing["kind"] == "Namespace"], snapshot, report)
        try:
            if missing and not check:  # the salt of the secrets' names is the namespace's
                site = self._site(set_name, declared, images, secret_values, snapshot, check)
                rendered = self._render(declared, site, Result())
                shared = namespaces(site, self.registry_auth, site.entry == "host_port" and bool(site.published))
            plan = self._plan(site, rendered, shared, snapshot, prune)
        except WorkloadError:
            home.unmake()
            raise
        show(plan, snapshot, result, home.changes)
        if check:
            return result
        home.put_right(report)
        self.api.each(lambda change: self.api.apply(change.manifest, force=self.force), plan.shared)
        removal = Removal(self.api, self.namespace, snapshot.there, report, manage=self.manage)
        self._remove_in_the_way(plan, snapshot, removal)
        Rollout(
            self.api,
            site,
            plan.units,
            report,
            result.workloads,
            namespaces=snapshot.there,
            wait_timeout=self.wait_timeout,
            force=self.force,
        ).run(snapshot)
        result.changed = result.changed or any(outcome.changed for outcome in result.workloads.values())
        failed = {name: outcome for name, outcome in result.workloads.items() if outcome.error}
        if failed:
            problems = [f"{name}: {outcome.error}" for name, outcome in failed.items()]
            raise WorkloadError(f"{len(failed)} of the workloads failed", problems=problems, result=result)
        removal.remove(plan.removals.values())
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
            snapshot = self._read()
        except WorkloadError as error:
            if check and _unreachable(error):
                return result
            raise
        doomed = {
            key: thing
            for key, thing in snapshot.of_set(set_name).items()
            if (names is None or label(thing, WORKLOAD) in names) and (remove_volumes or key.kind != CLAIM.name)
        }
        pulls = pull_leftovers(snapshot, set_name) if names is None else []
        for key, thing in doomed.items():
            if key in snapshot.controllers():
                title = str(label(thing, WORKLOAD))
                result.workloads[title] = Outcome("absent", True, ["removed"])
                result.before[title] = shown(thing)
        volumes = sorted(key.name for key in doomed if key.kind == CLAIM.name)
        if volumes:
            result.before["volumes"] = volumes
        removal = Removal(self.api, self.namespace, snapshot.there, report, manage=self.manage)
        left = Snapshot(
            self.namespace,
            self._emptied(snapshot, doomed),
            {key: thing for key, thing in snapshot.objects.items() if key not in doomed},
        )
        gone, shared, notes = removal.namespaces_left(left)
        result.notes += notes
        result.changed = bool(doomed or pulls or gone or shared)
        if check or not result.changed:
            return result
        self.api.each(lambda pod: self.api.delete(pod, POD), pulls)
        removal.remove([*doomed.values(), *shared])
        removal.remove_namespaces(gone)
        return result

    def observe(self, set_name: str | None = None) -> list[Observed]:
        try:
            found = read(self.api, self.namespace, self.namespaces, objects=False)
        except Forbidden:
            # The agent may look into the second namespace only where it was made for something.
            found = read(self.api, self.namespace, self._there(), objects=False)
        return observed(found, set_name)

    def logs(self, name: str, *, lines: int = 50) -> list[str]:
        snapshot = read(self.api, self.namespace, self._there(), objects=False)
        mains = [thing for thing in snapshot.controllers().values() if label(thing, WORKLOAD) == name]
        if not mains:
            raise WorkloadError(f"There is no workload {name!r} in {self.namespace}")
        found: list[str] = []
        for main in mains:
            for pod in snapshot.pods_of(main)[:3]:
                place = (pod["metadata"]["namespace"], pod["metadata"]["name"], lines)
                found += self.api.log_lines(*place) or self.api.log_lines(*place, previous=True)
        return found[-lines:]

    def facts(self, images: Mapping[str, str]) -> dict[str, Any]:
        snapshot = self._read()
        found = facts_of(self.api, snapshot, self.namespaces, endpoints=True)
        return {**found.to_dict(), "images": dict(images)}

    def events(self) -> Iterator[object]:
        return self.api.watch_all(POD, self._there() or [self.namespace], selector({NAMESPACE: self.namespace}))

    def start(
        self,
        set_name: str,
        workload: Workload,
        *,
        images: Mapping[str, str],
        secret_values: Mapping[str, str] | None = None,
    ) -> None:
        snapshot = self._read()
        site = self._site(set_name, [workload], images, secret_values or {}, snapshot, False)
        [rendered] = self._render([workload], site, Result())
        run = as_run(rendered)
        if key_of(run.main) in snapshot.objects:
            return
        for thing in run.manifests:
            try:
                self.api.apply(thing, force=self.force)
            except ApiError as error:
                self.remove_run(set_name, workload.name)
                if error.away:
                    raise
                raise WorkloadError(words(error, key_of(thing))) from error

    def runs(self, set_name: str) -> list[Run]:
        found = []
        jobs = self._items_of(JOB, {SET: set_name})
        snapshot = Snapshot(self.namespace, pods=self._items_of(POD, {KIND: "job"}) if jobs else [])
        for job in sorted(jobs, key=lambda job: str(job["metadata"]["name"])):
            pods, meta = snapshot.pods_of(job), job["metadata"]
            events = [] if pods else self.api.events(meta["namespace"], kind=JOB.name, name=meta["name"])
            found.append(run_of(job, pods, events))
        return found

    def run_log(self, set_name: str, name: str, *, since: str = "", lines: int = 200) -> list[LogLine]:
        jobs = self._items_of(JOB, {SET: set_name, WORKLOAD: name})
        snapshot = Snapshot(self.namespace, pods=self._items_of(POD, {KIND: "job", WORKLOAD: name}))
        pods = [pod["metadata"] for job in jobs for pod in snapshot.pods_of(job)]
        if not pods:
            return []
        text = self.api.stamped_log(pods[0]["namespace"], pods[0]["name"], since, lines, LOG_BYTES)
        return log_lines(text, since, lines, last=not since)

    def remove_run(self, set_name: str, name: str) -> bool:
        scope = {SET: set_name, WORKLOAD: name}
        jobs = self._items_of(JOB, scope)
        for job in jobs:
            self.api.delete(job)
        brought = [thing for kind in BROUGHT for thing in self._items_of(kind, scope)]
        self.api.each(self.api.delete, brought)
        return bool(jobs)

    def _items_of(self, kind: Kind, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        scope = selector({NAMESPACE: self.namespace, **labels})
        return [thing for home in self._there() for thing in self.api.items(kind, home, scope)]

    def _read(self) -> Snapshot:
        return read(self.api, self.namespace, self.namespaces)

    def _there(self) -> list[str]:
        """Those of our namespaces that there are."""
        found = find_namespaces(self.api, self.namespace, self.namespaces)
        return [name for name, thing in found.items() if thing is not None]

    def _snapshot(self, result: Result, report: Reporter, check: bool) -> Snapshot:
        """Check mode where there is no cluster yet: nothing is there."""
        try:
            found = self._read()
            if not check and leaving(found):
                report("waiting until the namespace that is being removed is gone")
                wait_gone(self.api, leaving(found))
                found = self._read()
            found.namespaces |= dict.fromkeys(leaving(found))
            return found
        except WorkloadError as error:
            if not check or not _unreachable(error):
                raise
            result.notes.append(f"{error} - check mode takes everything as to be created")
            self._api = None
            return Snapshot(self.namespace, dict.fromkeys(self.namespaces))

    def _site(
        self,
        set_name: str,
        declared: Sequence[Workload],
        images: Mapping[str, str],
        secret_values: Mapping[str, str],
        snapshot: Snapshot,
        check: bool,
    ) -> KubernetesSite:
        endpoints = any(workload.cluster_access for workload in declared)
        facts = KubernetesFacts(NO_SALT)
        if self._api is not None:
            facts = facts_of(self._api, snapshot, self.namespaces, endpoints=endpoints)
        return site_for(
            self.namespace,
            set_name,
            declared,
            domain=self.domain,
            images=images,
            secret_values=secret_values,
            registry_auth=self.registry_auth,
            kubernetes=self.options,
            facts=facts,
            lenient=check,
        )

    def _render(self, declared: Sequence[Workload], site: KubernetesSite, result: Result) -> list[KubernetesRendered]:
        problems: list[str] = []
        rendered = [render(workload, site, problems) for workload in declared]
        problems += collisions(rendered)
        if not site.lenient:
            problems += unknown_peers(declared, site.zone_of)
            problems += images_problems(declared, site.images)
        if problems:
            raise WorkloadError("The workloads can't be run on Kubernetes", problems=problems)
        for one in rendered:
            result.notes += [note for note in one.notes if note not in result.notes]
        return rendered

    def _plan(
        self,
        site: KubernetesSite,
        rendered: Sequence[KubernetesRendered],
        shared: Sequence[Mapping[str, Any]],
        snapshot: Snapshot,
        prune: bool,
    ) -> Plan:
        """Everything that is refused is told at once, before anything is written."""
        each = [one for item in rendered for one in (*item.jobs, item)]
        manifests = [thing for one in each for thing in one.manifests]
        wanted = {key_of(thing) for thing in manifests}
        names = {one.workload.name for one in each}
        keys = unneeded(snapshot, site.set_name, wanted, names, prune)
        removals = {key: snapshot.objects[key] for key in keys}
        freed = {port for thing in removals.values() for port in node_ports(thing)}
        problems: list[str] = []
        common = [thing for thing in shared if thing["kind"] != "Namespace"]
        dry = DryRun(self.api, self.namespace, None, snapshot, self.force)
        commons = dry.run(common, problems)
        dry = DryRun(self.api, self.namespace, site.set_name, snapshot, self.force, freed)
        changes = dry.run(manifests, problems)
        problems += [problem for change in changes.values() for problem in [_elsewhere(change, snapshot)] if problem]
        plan = Plan([], {}, removals, [change for change in commons.values() if change.action != "none"])
        if not problems:
            plan.units = plan_units(rendered, changes, snapshot)
            look(self.api, plan.units, changes.values(), snapshot, problems)
        if problems:
            raise WorkloadError("The cluster refuses this; nothing was changed", problems=list(dict.fromkeys(problems)))
        plan.changes = changes
        return plan

    def _remove_in_the_way(self, plan: Plan, snapshot: Snapshot, removal: Removal) -> None:
        """What goes away holds no port that another one wants now."""
        wanted: set[Any] = set()
        for unit in plan.units:
            for change in unit.changed:
                wanted |= node_ports(change.manifest)
            if unit.main is not None:
                wanted |= host_ports(unit.main.manifest)
        for key in list(plan.removals):
            thing = plan.removals[key]
            ports: set[Any] = set(node_ports(thing))
            if key.kind in ("Deployment", "StatefulSet"):
                ports |= host_ports(thing)
            if ports & wanted:
                removal.remove([plan.removals.pop(key)])
                snapshot.objects.pop(key, None)

    def _emptied(self, snapshot: Snapshot, doomed: Mapping[Key, Any]) -> dict[str, dict[str, Any] | None]:
        """The namespaces that may be left with nothing: another set's run doesn't look at the second one."""
        left = [key for key, thing in snapshot.objects.items() if key not in doomed and key.kind != CLAIM.name]
        nothing = not any(snapshot.objects[key]["metadata"]["labels"].get("mlops.onprem/set") for key in left)
        touched = {key.namespace for key in doomed}
        return {name: found if nothing or name in touched else None for name, found in snapshot.namespaces.items()}

    def _blank(self, rendered: Sequence[KubernetesRendered], result: Result) -> Result:
        for item in rendered:
            for one in (*item.jobs, item):
                result.workloads[one.workload.name] = Outcome("absent", True, ["new"])
                result.after[one.workload.name] = {str(key_of(thing)): shown(thing) for thing in one.manifests}
        result.changed = bool(result.workloads)
        return result


def _unreachable(error: WorkloadError) -> bool:
    return not isinstance(error, Forbidden) and (not isinstance(error, ApiError) or error.status == 0)


def _elsewhere(change: Change, snapshot: Snapshot) -> str | None:
    """A workload that comes to publish a port moves to another namespace, which its volume can't."""
    if change.action != "create" or change.key.kind != CLAIM.name:
        return None
    for key in snapshot.objects:
        if key.kind == CLAIM.name and key.name == change.key.name and key.namespace != change.key.namespace:
            return (
                f"{change.key}: its data are in the namespace {key.namespace} and can't follow it: a port of the host "
                "moves a workload; give it to a workload of its own"
            )
    return None
