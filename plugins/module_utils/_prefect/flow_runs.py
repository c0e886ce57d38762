# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of flows: start, await, cancel, and tell how they went."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from .._errors import InputError, RequestError
from .._outcome import Outcome
from .client import PrefectClient
from .comparison import nearest
from .deployments import Deployments

OPEN = ("scheduled", "pending", "running", "paused", "cancelling")
FINAL = ("completed", "failed", "crashed", "cancelled")
STATES = (*OPEN, *FINAL)
FAILED = ["FAILED", "CRASHED"]
TASKS_SHOWN = 200
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
LOOK = 0.5
"""Seconds between two looks at what a run that has ended still tells."""
QUIET = 3.0
"""So many seconds without news after a run's end mean that no more comes."""
SETTLED = 30.0
"""And after so many, whatever comes is not waited for."""
OLD = timedelta(hours=1)
"""A run that ended before has nothing more to tell, however wrong a clock is."""
SHOWN = ("name", "flow", "deployment", "state", "state_name", "parameters", "tags", "idempotency_key")


@dataclass(frozen=True)
class Patience:
    """How long to wait for a run, and how often to look, in seconds."""

    timeout: float
    interval: float


class Unfinished(Exception):
    """A run didn't end in time; ``run`` is how it was last seen."""

    def __init__(self, message: str, run: dict[str, Any]) -> None:
        super().__init__(message)
        self.run = run


def check_id(option: str, value: str) -> str:
    """An id as Prefect writes it.

    :raises InputError: for what is no UUID.
    """
    try:
        return str(uuid.UUID(value))
    except ValueError as error:
        raise InputError(f"{option}: {value!r} is no id of Prefect's, which are UUIDs") from error


def facts(run: Mapping[str, Any], flow: str | None = None, deployment: str | None = None) -> dict[str, Any]:
    """A run in the collection's form."""
    state = run.get("state") or {}
    return {
        "id": run.get("id"),
        "name": run.get("name"),
        "flow": flow,
        "deployment": deployment,
        "deployment_version": run.get("deployment_version"),
        "state": str(run.get("state_type") or "").lower(),
        "state_name": run.get("state_name"),
        "state_message": state.get("message") or "",
        "parameters": run.get("parameters") or {},
        "tags": sorted(set(run.get("tags") or [])),
        "idempotency_key": run.get("idempotency_key"),
        "job_variables": run.get("job_variables") or {},
        "work_pool": run.get("work_pool_name"),
        "work_queue": run.get("work_queue_name"),
        "run_count": int(run.get("run_count") or 0),
        "run_time": float(run.get("total_run_time") or 0),
        "created": run.get("created"),
        "expected_start": run.get("expected_start_time"),
        "started": run.get("start_time"),
        "ended": run.get("end_time"),
    }


def task_facts(run: Mapping[str, Any]) -> dict[str, Any]:
    """A task run in the collection's form."""
    state = run.get("state") or {}
    return {
        "id": run.get("id"),
        "name": run.get("name"),
        "state": str(run.get("state_type") or "").lower(),
        "state_name": run.get("state_name"),
        "state_message": state.get("message") or "",
        "run_count": int(run.get("run_count") or 0),
        "started": run.get("start_time"),
        "ended": run.get("end_time"),
    }


def log_facts(line: Mapping[str, Any]) -> dict[str, Any]:
    """A log line in the collection's form."""
    return {
        "time": line.get("timestamp"),
        "level": next((name for name, least in reversed(LEVELS.items()) if (line.get("level") or 0) >= least), "debug"),
        "message": str(line.get("message") or ""),
        "task_run_id": line.get("task_run_id"),
    }


def problem(run: Mapping[str, Any], failed_tasks: int, *, run_counts: bool, tasks_count: bool) -> str:
    """Why a run that ended is not good enough; empty if it is."""
    ended = f"{_title(run)} ended {run['state_name']}"
    if run_counts and run["state"] in FINAL and run["state"] != "completed":
        return f"{ended}: {run['state_message']}" if run["state_message"] else ended
    if tasks_count and failed_tasks:
        return f"{ended}, but {failed_tasks} of its task runs failed"
    return ""


def body_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent to start a run: what was given only."""
    names = {
        "parameters": "parameters",
        "tags": "tags",
        "name": "name",
        "job_variables": "job_variables",
        "work_queue": "work_queue_name",
        "idempotency_key": "idempotency_key",
    }
    body = {names[key]: params[key] for key in names if params[key] is not None}
    if params["start_at"] is not None:
        body["state"] = {"type": "SCHEDULED", "state_details": {"scheduled_time": params["start_at"]}}
    return body


def as_new(flow: str, deployment: str, body: Mapping[str, Any], found: Mapping[str, Any]) -> Outcome:
    """What a run would be.

    :param found: its deployment, empty where nothing is known of it.
    """
    planned = {
        **body,
        "state_type": "SCHEDULED",
        "state_name": "Scheduled",
        "parameters": (found.get("parameters") or {}) | body.get("parameters", {}),
        "tags": [*(found.get("tags") or []), *body.get("tags", [])],
        "deployment_version": found.get("version"),
        "work_pool_name": found.get("work_pool_name"),
        "work_queue_name": body.get("work_queue_name", found.get("work_queue_name")),
    }
    after = facts(planned, flow, deployment)
    return Outcome(True, {}, shown(after), after)


class FlowRuns:
    """The runs of one server."""

    def __init__(self, client: PrefectClient, *, check: bool) -> None:
        self._client = client
        self._check = check

    def by_id(self, identity: str) -> dict[str, Any] | None:
        found = self._client.find_flow_run(identity)
        return None if found is None else self._named([found])[0]

    def by_key(self, flow: str, deployment: str, key: str) -> dict[str, Any] | None:
        """The run that was started with this key.

        :raises InputError: where another deployment of the flow has it: Prefect would answer with that run.
        """
        filters = {"flows": {"name": {"any_": [flow]}}, "flow_runs": {"idempotency_key": {"any_": [key]}}}
        found = self._named(self._client.flow_runs(filters, 1))
        if not found:
            return None
        if found[0]["deployment"] not in (deployment, None):
            raise InputError(
                f"idempotency_key: {key!r} belongs to the run {found[0]['name']} of {flow}/{found[0]['deployment']}; "
                "a key counts for all deployments of a flow"
            )
        return found[0] | {"deployment": deployment}

    def search(self, filters: dict[str, Any], limit: int) -> list[dict[str, Any]]:
        return self._named(self._client.flow_runs(filters, limit))

    def start(self, flow: str, deployment: str, body: dict[str, Any]) -> Outcome:
        """Start a run.

        :param body: as ``body_of`` has it.
        """
        found = self._client.find_deployment(flow, deployment)
        if found is None:
            there = Deployments(self._client, check=True).all({})
            hint = nearest(f"{flow}/{deployment}", (f"{one['flow']}/{one['name']}" for one in there))
            raise InputError(f"deployment: there is no deployment {flow}/{deployment}; {hint}")
        if self._check:
            return as_new(flow, deployment, body, found)
        made = facts(self._client.create_flow_run(str(found["id"]), body), flow, deployment)
        return Outcome(True, {}, shown(made), made)

    def same(self, run: dict[str, Any]) -> Outcome:
        """A run that is there stays as it is."""
        return Outcome(False, shown(run), shown(run), run)

    def wait(self, run: dict[str, Any], patience: Patience) -> dict[str, Any]:
        """The run when it has ended.

        A server that is away for a while is waited for, too.

        :raises Unfinished: when it has not ended in time.
        """
        deadline = time.monotonic() + patience.timeout
        while run["state"] not in FINAL:
            if time.monotonic() >= deadline:
                raise Unfinished(self._late(run, patience.timeout), run)
            # No call of Prefect's API waits for a state: it is asked for again and again.
            time.sleep(min(patience.interval, max(0.0, deadline - time.monotonic())))
            try:
                found = self._client.find_flow_run(run["id"])
            except RequestError as error:
                if not error.unreachable:
                    raise
                continue
            if found is None:
                raise Unfinished(f"{_title(run)} was removed while it was awaited", run)
            run = facts(found, run["flow"], run["deployment"])
        return run

    def settle(self, run: Mapping[str, Any]) -> None:
        """Wait until the server knows all about a run that has ended.

        Task runs and log lines reach it a moment later. They are complete when the flow's last line is there and no
        task is left open; a run that was killed has no such line, so a while without news counts, too.
        """
        never_began = run["state"] == "cancelled" and not run["run_count"]
        if run["state"] not in FINAL or never_began or _long_ago(run["ended"]):
            return
        began = quiet_since = time.monotonic()
        seen: Any = None
        while True:
            last = self._client.logs(run["id"], 0, 5)
            open_tasks = self._client.count_task_runs(run["id"], [state.upper() for state in OPEN])
            if not open_tasks and any(_is_last(line) for line in last):
                return
            now, news = time.monotonic(), ([line.get("id") for line in last], open_tasks)
            if news != seen:
                seen, quiet_since = news, now
            if now - quiet_since >= QUIET or now - began >= SETTLED:
                return
            time.sleep(LOOK)

    def cancel(self, run: dict[str, Any]) -> Outcome:
        """Ask for a run to be stopped; what it had begun is ended by its worker."""
        if run["state"] in FINAL or run["state"] == "cancelling":
            return self.same(run)
        after = run | {"state": "cancelled", "state_name": "Cancelled"}
        if self._check:
            return Outcome(True, shown(run), shown(after), after)
        answer = self._client.set_flow_run_state(run["id"], {"type": "CANCELLING", "name": "Cancelling"})
        now = facts(self._client.find_flow_run(run["id"]) or {}, run["flow"], run["deployment"])
        if now["state"] not in FINAL and now["state"] != "cancelling":
            reason = (answer.get("details") or {}).get("reason") or "no reason is given"
            raise Unfinished(f"{_title(run)} can't be cancelled: {reason}", now)
        return Outcome(True, shown(run), shown(after), now)

    def remove(self, run: dict[str, Any]) -> Outcome:
        """Remove a run from the server's records."""
        if not self._check:
            self._client.delete_flow_run(run["id"])
        return Outcome(True, shown(run), {})

    def report(self, run: Mapping[str, Any], *, lines: int, level: int) -> dict[str, Any]:
        """The failed task runs and the last log lines of a run."""
        failed = self._client.task_runs(run["id"], FAILED, TASKS_SHOWN)
        count = len(failed) if len(failed) < TASKS_SHOWN else self._client.count_task_runs(run["id"], FAILED)
        # One more tells whether there are others.
        found = self._client.logs(run["id"], level, lines + 1) if lines else []
        return {
            "failed_task_runs": [task_facts(one) for one in failed],
            "failed_task_run_count": count,
            "logs": [log_facts(line) for line in reversed(found[:lines])],
            "logs_truncated": len(found) > lines,
        }

    def _late(self, run: Mapping[str, Any], seconds: float) -> str:
        said = f"{_title(run)} is {run['state_name']} after {seconds:g} s"
        if run["state"] == "paused":
            return f"{said}; it waits for someone to resume it"
        if run["state"] != "scheduled":
            return said
        if not run["work_pool"]:
            return f"{said}; its deployment has no work pool, so only a process that serves the flow takes it"
        pool = self._client.find_work_pool(run["work_pool"]) or {}
        if pool.get("is_paused"):
            return f"{said}; its work pool {run['work_pool']} is paused"
        status = str(pool.get("status") or "unknown").replace("_", " ").lower()
        return f"{said}; its work pool {run['work_pool']} is {status}: is a worker of it running, and not at a limit?"

    def _named(self, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """With the names of flows and deployments in place of their ids."""
        flows = self._client.flow_names({str(run["flow_id"]) for run in runs})
        ids = sorted({str(run["deployment_id"]) for run in runs if run.get("deployment_id")})
        found = self._client.deployments({"deployments": {"id": {"any_": ids}}}) if ids else []
        names = {str(one["id"]): str(one["name"]) for one in found}
        return [facts(run, flows.get(str(run["flow_id"])), names.get(str(run.get("deployment_id")))) for run in runs]


def shown(run: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run that a declaration is about, for the diff."""
    return {key: run[key] for key in SHOWN}


def _title(run: Mapping[str, Any]) -> str:
    return f"The flow run {run['name']} of {run['flow']}/{run['deployment']}"


def _is_last(line: Mapping[str, Any]) -> bool:
    return line.get("task_run_id") is None and str(line.get("message")).startswith("Finished in state")


def _long_ago(ended: str | None) -> bool:
    try:
        return datetime.now(UTC) - datetime.fromisoformat(ended or "") > OLD
    except (TypeError, ValueError):
        return False
