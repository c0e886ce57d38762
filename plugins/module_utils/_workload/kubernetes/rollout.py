# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Applies workloads, as many at a time as their order allows, and waits on what the cluster says of them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..base import Outcome, Reporter
from ..errors import WorkloadError
from .api import Api, ApiError, event_time
from .changes import Change, role_unseen
from .kinds import Key, key_of
from .live import Snapshot, read
from .pull import is_pull, pull_pods, pulled, remove, start
from .reason import HOPELESS, MISSING, PULLING, main_reason, pod_reason
from .render import KubernetesRendered, start_budget
from .site import KubernetesSite
from .state import (
    condition,
    current,
    ended,
    exit_state,
    holds,
    job_state,
    observed,
    ready,
    restarts,
    settled,
    started,
    terminating,
    unschedulable,
    waiting,
)
from .words import words

POLL = 0.5
SEEN = 5.0  # seconds until the API server itself knows a role that was just made
STUCK = 30.0  # seconds without a node that could take the Pod
PULL_PATIENCE = 20.0  # seconds in which a registry may come to its senses
HALF_MADE = 5.0  # seconds in which what a container needs may still come
# Seconds in which a controller may find that it can make its Pods after all: a quota counts those that go for a while,
# and the controller takes longer from try to try.
REFUSED = 25.0
PULL_LONGEST = 600.0
QUIET = 3.0  # seconds that a container without a probe has to last
CRASHES = 3  # containers that ended, after which a first start is given up; an update, after one less
LENIENCE = 5.0  # seconds beyond the window: what is told is a little old
RECOVERY = 30.0  # seconds after the API server's return in which a cluster finds its feet again
LOG_LINES = 20


@dataclass
class Unit:
    """One service or job on its way. action: none, create, update, replace (remove and create)."""

    rendered: KubernetesRendered
    changed: list[Change]
    action: str
    why: list[str]
    needs: set[str]
    phase: str = "waiting"
    deadline: float = 0.0
    posted: bool = False
    served: bool = False
    sent: str = ""  # by the server's clock
    since: dict[str, float] = field(default_factory=dict)  # when each kind of trouble was first seen
    begun: dict[str, float] = field(default_factory=dict)  # when each Pod that isn't ready was first seen to run
    restarts: dict[str, int] = field(default_factory=dict)  # of the Pods that were there before
    failure: str = ""
    said: str = ""

    @property
    def name(self) -> str:
        return self.rendered.workload.name

    @property
    def key(self) -> Key:
        return key_of(self.rendered.main)

    @property
    def changes(self) -> bool:
        return self.action != "none"

    @property
    def main(self) -> Change | None:
        """The change of what runs the Pods, if there is one."""
        return next((change for change in self.changed if change.key == self.key), None)

    @property
    def window(self) -> float:
        """Seconds that a new replica may take: the health window, or what its probes allow."""
        workload = self.rendered.workload
        return max(workload.update.health_window, start_budget(workload)) + LENIENCE

    @property
    def longest(self) -> float:
        """Seconds that an update may take with all its replicas, if each of them takes its time."""
        workload = self.rendered.workload
        batches = math.ceil(max(workload.replicas, 1) / workload.update.batch)
        return (self.window + workload.stop_grace) * batches

    @property
    def stops_first(self) -> bool:
        strategy = self.rendered.main["spec"].get("strategy") or {}
        surge = (strategy.get("rollingUpdate") or {}).get("maxSurge")
        return not self.rendered.workload.is_job and (self.key.kind == "StatefulSet" or not surge)

    def lasts(self, trouble: str, there: bool) -> float:
        """Seconds for which the trouble has been there without a break."""
        if not there:
            self.since.pop(trouble, None)
            return 0.0
        return time.monotonic() - self.since.setdefault(trouble, time.monotonic())


class Rollout:
    def __init__(
        self,
        api: Api,
        site: KubernetesSite,
        units: Sequence[Unit],
        report: Reporter,
        outcomes: dict[str, Outcome],
        *,
        namespaces: Sequence[str],
        wait_timeout: float,
        force: bool,
    ) -> None:
        self.api = api
        self.site = site
        self.units = {unit.name: unit for unit in units}
        self.report = report
        self.outcomes = outcomes
        self.namespaces = namespaces
        self.wait_timeout = wait_timeout
        self.force = force

    def run(self, snapshot: Snapshot) -> None:
        """Failures are in the outcomes."""
        while True:
            for unit in self.units.values():
                try:
                    self._advance(unit, snapshot)
                except WorkloadError as error:
                    self._fail(unit, snapshot, words(error) if isinstance(error, ApiError) else str(error), log=False)
            if all(unit.phase in ("done", "failed") for unit in self.units.values()):
                return
            time.sleep(POLL)
            begin = time.monotonic()
            snapshot = read(self.api, self.site.namespace, self.namespaces, objects=False)
            if self.api.lost > begin:
                for unit in self.units.values():
                    unit.since.clear()
                    unit.begun.clear()

    def _late(self, unit: Unit) -> bool:
        """While the API server is away nothing moves, and controllers and scheduler come back some time after it."""
        return time.monotonic() > max(unit.deadline, self.api.lost + RECOVERY + unit.longest)

    def _advance(self, unit: Unit, snapshot: Snapshot) -> None:
        if unit.phase == "waiting":
            self._begin(unit, snapshot)
        elif unit.phase == "pulling":
            self._watch_pull(unit, snapshot)
        elif unit.phase == "removing":
            self._watch_removal(unit, snapshot)
        elif unit.phase == "rolling" and unit.rendered.workload.is_job:
            self._watch_job(unit, snapshot)
        elif unit.phase == "rolling":
            self._watch(unit, snapshot)
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
        pods = self._pods(unit, snapshot)
        unit.restarts = {str(pod["metadata"]["uid"]): restarts(pod) for pod in pods}
        unit.served = any(ready(pod) for pod in pods)
        if not unit.changes:
            unit.deadline = time.monotonic() + self.wait_timeout
            unit.phase = "rolling"
            self._advance(unit, snapshot)  # what has settled already is done in this very round
            return
        if unit.served and unit.stops_first and self._new_image(unit):
            self.report(f"{unit.name}: bringing {unit.rendered.image} to its node")
            start(self.api, pull_pods(unit.rendered, self.site, pods))
            unit.phase, unit.deadline = "pulling", time.monotonic() + max(self.wait_timeout, PULL_LONGEST)
            return
        self._send(unit)

    def _new_image(self, unit: Unit) -> bool:
        change = unit.main
        if change is None or change.live is None:
            return False
        return bool(change.live["spec"]["template"]["spec"]["containers"][0].get("image") != unit.rendered.image)

    def _watch_pull(self, unit: Unit, snapshot: Snapshot) -> None:
        pods = [pod for pod in snapshot.pods if is_pull(pod) and _name(pod).startswith(f"{unit.name}-pull-")]
        troubled = [pod for pod in pods if waiting(pod)[0] in PULLING]
        lasted = unit.lasts("pull", bool(troubled))
        hopeless = [pod for pod in troubled if waiting(pod)[0] in HOPELESS]
        if hopeless or lasted > PULL_PATIENCE or self._late(unit):
            pod = next(iter(hopeless or troubled or pods), None)
            text = "its image isn't there in time" if pod is None else pod_reason(pod, self._events(pod))
            remove(self.api, pods)
            self._fail(unit, snapshot, f"{text}; the version that runs was left alone", log=False)
            return
        if all(pulled(pod) for pod in pods):
            remove(self.api, pods)
            unit.since.clear()
            self._send(unit)

    def _send(self, unit: Unit) -> None:
        what = "job" if unit.rendered.workload.is_job else "service"
        self.report(f"{unit.name}: {unit.action} {what} ({', '.join(unit.why)})")
        unit.posted, unit.sent = True, self.api.now()
        main = unit.main
        companions = [change for change in unit.changed if change is not main]
        for change in companions:
            if change.action == "replace" and change.live is not None:
                self.api.delete(change.live)
        self.api.each(self._apply, [change.manifest for change in companions])
        if main is not None and main.action == "replace" and main.live is not None:
            self.api.delete(main.live)
            unit.phase, unit.deadline = (
                "removing",
                time.monotonic() + unit.rendered.workload.stop_grace + self.wait_timeout,
            )
            return
        self._send_main(unit)

    def _send_main(self, unit: Unit) -> None:
        if unit.main is not None:
            self._apply(unit.main.manifest)
        unit.deadline = time.monotonic() + max(self.wait_timeout, unit.longest if unit.action == "update" else 0)
        unit.phase = "rolling"

    def _apply(self, thing: Mapping[str, Any]) -> None:
        until = time.monotonic() + SEEN
        while True:
            try:
                self.api.apply(thing, force=self.force)
                return
            except ApiError as error:
                if not role_unseen(error, key_of(thing)) or time.monotonic() > until:
                    raise WorkloadError(words(error, key_of(thing))) from error
            time.sleep(POLL)

    def _watch_removal(self, unit: Unit, snapshot: Snapshot) -> None:
        live = unit.main.live if unit.main is not None else None
        uid = live["metadata"]["uid"] if live is not None else ""
        there = snapshot.objects.get(unit.key)
        pods = [pod for pod in snapshot.pods if str(pod["metadata"]["uid"]) in unit.restarts]
        if (there is None or there["metadata"]["uid"] != uid) and not pods:
            self._send_main(unit)
        elif self._late(unit):
            self._fail(unit, snapshot, f"the old {unit.key.kind} doesn't go away", log=False)

    def _watch(self, unit: Unit, snapshot: Snapshot) -> None:
        main = snapshot.objects.get(unit.key)
        if main is None:
            if unit.lasts("gone", True) > POLL * 3:
                self._fail(unit, snapshot, "somebody has removed it meanwhile: run again")
            return
        pods = self._pods(unit, snapshot)
        if settled(main, pods):
            # Without a probe a container is ready as soon as it runs.
            probed = "readinessProbe" in unit.rendered.main["spec"]["template"]["spec"]["containers"][0]
            if probed or not unit.posted or unit.rendered.workload.replicas == 0 or unit.lasts("quiet", True) > QUIET:
                self._done(unit, "healthy")
            return
        unit.since.pop("quiet", None)
        self._tell(unit, pods)
        self._unblock(main, pods)
        problem = self._trouble(unit, main, pods)
        if problem is None and (self._late(unit) or self._overdue(unit, pods)):
            problem = f"not healthy in time; {self._reason(unit, snapshot)}"
        if problem is not None:
            self._give_up(unit, snapshot, problem)

    def _overdue(self, unit: Unit, pods: list[dict[str, Any]]) -> bool:
        """Whether a Pod of an update runs, or could, for longer than its window without getting ready. What comes
        before that isn't its fault: the cluster's controllers, the scheduler, an image that is on its way."""
        if unit.action != "update" or not unit.posted:
            return False
        for pod in pods:
            uid = str(pod["metadata"]["uid"])
            runs = started(pod) or (unit.stops_first and pod["spec"].get("nodeName"))
            if uid in unit.restarts or ready(pod) or terminating(pod) or not runs:
                unit.begun.pop(uid, None)
            elif time.monotonic() - unit.begun.setdefault(uid, time.monotonic()) > unit.window:
                return True
        return False

    def _trouble(self, unit: Unit, main: Mapping[str, Any], pods: list[dict[str, Any]]) -> str | None:
        """What no more waiting will mend. The Pods of the version that goes don't count."""
        fresh = [pod for pod in pods if str(pod["metadata"]["uid"]) not in unit.restarts]
        looked = [pod for pod in (fresh if unit.posted else pods) if not ready(pod) and not terminating(pod)]
        updates = unit.action == "update"
        ended_before = sum(unit.restarts.get(str(pod["metadata"]["uid"]), 0) for pod in looked)
        crashes = sum(restarts(pod) for pod in looked) - ended_before
        reasons = {waiting(pod)[0] for pod in looked}
        lonely = [pod for pod in looked if unschedulable(pod)]
        patience = min(STUCK, unit.rendered.workload.update.health_window) if updates else STUCK
        refused = condition(main, "ReplicaFailure").get("status") == "True" or (unit.posted and not fresh)
        if (
            reasons & set(HOPELESS)
            or unit.lasts("missing", bool(reasons & set(MISSING))) > HALF_MADE
            or unit.lasts("image", bool(reasons & set(PULLING))) > PULL_PATIENCE
            or crashes >= (CRASHES - 1 if updates else CRASHES)
            or unit.lasts("node", bool(lonely)) > patience + unit.rendered.workload.stop_grace
        ):
            return self._pod_reason(unit, looked)
        if unit.lasts("refused", refused) > REFUSED and self._failed_create(unit, main):
            return main_reason(main, self._events(main))
        return None

    def _failed_create(self, unit: Unit, main: Mapping[str, Any]) -> bool:
        if holds(main, "ReplicaFailure"):
            return True
        events = self._events(main)
        return any(event.get("reason") == "FailedCreate" and event_time(event) >= unit.sent for event in events)

    def _unblock(self, main: Mapping[str, Any], pods: list[dict[str, Any]]) -> None:
        """A StatefulSet waits for a Pod of another version that will never get ready."""
        if main["kind"] != "StatefulSet" or not observed(main):
            return
        for pod in pods:
            if not current(main, pod) and not ready(pod) and not terminating(pod):
                self.api.delete(pod)

    def _watch_job(self, unit: Unit, snapshot: Snapshot) -> None:
        job = snapshot.objects.get(unit.key)
        if job is None:
            if unit.lasts("gone", True) > POLL * 3:
                self._fail(unit, snapshot, "somebody has removed the job meanwhile: run again")
            return
        found = job_state(job)
        pods = self._pods(unit, snapshot)
        if found == "completed":
            self._done(unit, "completed", self._log([pod for pod in pods if ended(pod)]) if unit.posted else [])
            return
        self._tell(unit, pods)
        problem = self._reason(unit, snapshot) if found == "failed" else self._trouble(unit, job, pods)
        if problem is None and self._late(unit):
            problem = f"not finished within {self.wait_timeout:g} s"
        if problem is not None:
            self._fail(unit, snapshot, problem)

    def _give_up(self, unit: Unit, snapshot: Snapshot, problem: str) -> None:
        main = unit.main
        previous = main.previous if main is not None and unit.action == "update" else None
        if not (unit.posted and unit.served and previous and unit.rendered.workload.update.rollback):
            self._fail(unit, snapshot, problem)
            return
        unit.failure = problem
        self._keep_log(unit, snapshot)
        self.report(f"{unit.name}: {self._masked(problem)}; calling the old version back")
        back = [change.previous for change in unit.changed if change is not main and change.action == "update"]
        self.api.each(self._restore, [thing for thing in back if thing is not None])
        self._restore(previous)
        unit.phase, unit.deadline = "returning", time.monotonic() + max(self.wait_timeout, unit.longest)

    def _restore(self, thing: Mapping[str, Any]) -> None:
        self.api.apply(thing, force=True)

    def _watch_return(self, unit: Unit, snapshot: Snapshot) -> None:
        main = snapshot.objects.get(unit.key)
        if main is None:
            self._fail(unit, snapshot, unit.failure)
            return
        pods = self._pods(unit, snapshot)
        if settled(main, pods):
            self._fail(unit, snapshot, f"{unit.failure}; the old version is back", status="rolled back")
        elif self._late(unit):
            text = f"{unit.failure}; the old version did not come back either: {self._pod_reason(unit, pods)}"
            self._fail(unit, snapshot, text, status="rolled back")
        else:
            self._unblock(main, pods)

    def _reason(self, unit: Unit, snapshot: Snapshot) -> str:
        """Why it isn't as it should be, from its newest Pods."""
        pods = self._pods(unit, snapshot)
        bad = [pod for pod in pods if not ready(pod) and not terminating(pod)] or [
            pod for pod in pods if not ready(pod)
        ]
        if bad:
            return self._pod_reason(unit, bad)
        main = snapshot.objects.get(unit.key)
        if main is not None and not unit.rendered.workload.is_job and not observed(main):
            return "the cluster's controllers haven't looked at it yet"
        return main_reason(main, self._events(main)) if main is not None and not pods else "it hasn't settled"

    def _pod_reason(self, unit: Unit, pods: list[dict[str, Any]]) -> str:
        """That of the Pod which has the most to tell; its log is kept."""
        for pod in sorted(pods, key=lambda pod: (not exit_state(pod), not waiting(pod)[0])):
            self.outcomes[unit.name] = Outcome("failed", unit.posted, unit.why, None, self._log([pod]))
            return pod_reason(pod, self._events(pod))
        return "it has no Pod"

    def _pods(self, unit: Unit, snapshot: Snapshot) -> list[dict[str, Any]]:
        main = snapshot.objects.get(unit.key)
        return [] if main is None else snapshot.pods_of(main)

    def _events(self, thing: Mapping[str, Any]) -> list[dict[str, Any]]:
        meta = thing["metadata"]
        return self.api.events(meta["namespace"], name=meta["name"], uid=meta["uid"])

    def _log(self, pods: list[dict[str, Any]]) -> list[str]:
        for pod in pods:
            meta = pod["metadata"]
            if not (pod.get("status") or {}).get("containerStatuses"):
                continue
            gone = bool(waiting(pod)[0]) and restarts(pod) > 0
            lines = self.api.log_lines(meta["namespace"], meta["name"], LOG_LINES, previous=gone)
            if not lines and restarts(pod) > 0 and not gone:
                lines = self.api.log_lines(meta["namespace"], meta["name"], LOG_LINES, previous=True)
            if lines:
                return [self._masked(line) for line in lines]
        return []

    def _masked(self, text: str) -> str:
        for value in self.site.secret_values.values():
            if len(value) >= 8:
                text = text.replace(value, "********")
        return text

    def _keep_log(self, unit: Unit, snapshot: Snapshot) -> None:
        if unit.name not in self.outcomes:
            self._reason(unit, snapshot)

    def _tell(self, unit: Unit, pods: list[dict[str, Any]]) -> None:
        states: dict[str, int] = {}
        for pod in pods:
            word = _word(pod)
            states[word] = states.get(word, 0) + 1
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
            fresh = [pod for pod in self._pods(unit, snapshot) if str(pod["metadata"]["uid"]) not in unit.restarts]
            lines = self._log(fresh)
        self.outcomes[unit.name] = Outcome(status, unit.posted, unit.why, self._masked(problem), lines)
        self.report(f"{unit.name}: {status}: {self._masked(problem)}")


def _name(thing: Mapping[str, Any]) -> str:
    return str(thing["metadata"]["name"])


def _word(pod: Mapping[str, Any]) -> str:
    if terminating(pod):
        return "stopping"
    if ready(pod):
        return "ready"
    why = waiting(pod)[0]
    if why and why not in ("ContainerCreating", "PodInitializing"):
        return why
    phase = str((pod.get("status") or {}).get("phase") or "Pending").lower()
    return "not ready" if phase == "running" else phase
