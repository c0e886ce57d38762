# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments with their schedules: read, compare, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._errors import InputError
from .._outcome import Outcome
from . import schedules
from .client import PrefectClient
from .comparison import as_limit, check_name, declared, differing, nearest

SAME_NAME = (
    "description",
    "version",
    "tags",
    "paused",
    "entrypoint",
    "path",
    "pull_steps",
    "parameters",
    "parameter_openapi_schema",
    "enforce_parameter_schema",
    "job_variables",
)
"""Settings that the API knows by the same name."""
PLACE = ("work_pool", "work_queue")
COLLISION = ("collision_strategy", "grace_period")
LIMITS = ("concurrency_limit", "global_concurrency_limit")
SETTINGS = (*SAME_NAME, *PLACE, *LIMITS, *COLLISION)
UNSEEN = ("id", "status", "created", "updated")
"""What no declaration is about."""
GRACE = (60, 86400)


@dataclass(frozen=True)
class Wanted:
    """A deployment as declared; what is not given is not among ``settings``."""

    flow: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    schedules: list[schedules.Schedule] | None = None


def parse(params: Mapping[str, Any]) -> Wanted:
    """A deployment as the module's options have it.

    :raises InputError: for what Prefect would refuse.
    """
    for option in ("flow", "name"):
        check_name(option, params[option])
    settings = declared(params, *SETTINGS)
    if "tags" in settings:
        settings["tags"] = sorted(set(settings["tags"]))
    if "concurrency_limit" in settings:
        settings["concurrency_limit"] = as_limit("concurrency_limit", settings["concurrency_limit"], 1)
    if not GRACE[0] <= settings.get("grace_period", GRACE[0]) <= GRACE[1]:
        raise InputError(f"grace_period: must be between {GRACE[0]} and {GRACE[1]} seconds")
    if "work_queue" in settings:
        check_name("work_queue", settings["work_queue"])
    for option in ("work_pool", "global_concurrency_limit"):
        if settings.get(option) == "":
            settings[option] = None
    listed = None if params["schedules"] is None else schedules.parse(params["schedules"])
    return Wanted(params["flow"], params["name"], settings, listed)


def facts(deployment: Mapping[str, Any], flow: str) -> dict[str, Any]:
    """A deployment in the collection's form."""
    limit = deployment.get("global_concurrency_limit") or {}
    # A limit of the deployment's own is a global one of this name.
    own = limit.get("name") == f"deployment:{deployment['id']}"
    options = deployment.get("concurrency_options") or {}
    return {
        "id": str(deployment["id"]),
        "flow": flow,
        "name": str(deployment["name"]),
        "description": deployment.get("description") or "",
        "version": deployment.get("version") or "",
        "tags": sorted(set(deployment.get("tags") or [])),
        "paused": bool(deployment.get("paused")),
        "entrypoint": deployment.get("entrypoint") or "",
        "path": deployment.get("path") or "",
        "pull_steps": deployment.get("pull_steps") or [],
        "parameters": deployment.get("parameters") or {},
        "parameter_openapi_schema": deployment.get("parameter_openapi_schema") or {},
        "enforce_parameter_schema": bool(deployment.get("enforce_parameter_schema", True)),
        "job_variables": deployment.get("job_variables") or {},
        "work_pool": deployment.get("work_pool_name"),
        # The name of the queue stays with a deployment that has left its pool.
        "work_queue": deployment.get("work_queue_name") if deployment.get("work_pool_name") else None,
        "concurrency_limit": limit.get("limit") if own else None,
        "global_concurrency_limit": None if own else limit.get("name"),
        "collision_strategy": str(options.get("collision_strategy") or "ENQUEUE").lower(),
        "grace_period": options.get("grace_period_seconds"),
        "schedules": [schedules.facts(one) for one in deployment.get("schedules") or []],
        "status": str(deployment.get("status") or "").lower(),
        "created": deployment.get("created"),
        "updated": deployment.get("updated"),
    }


def new_deployment(wanted: Wanted) -> dict[str, Any]:
    """A deployment as Prefect makes it, before anything is set."""
    return facts({"id": "", "name": wanted.name}, wanted.flow) | {"id": None}


def shown(facts: Mapping[str, Any] | None) -> dict[str, Any]:
    """The part of a deployment that declarations are about, for the diff."""
    return {} if facts is None else {key: value for key, value in facts.items() if key not in UNSEEN}


def settings_after(wanted: Wanted, base: Mapping[str, Any]) -> dict[str, Any]:
    """What is wanted, with what follows from it: another pool's default queue, and one kind of limit only."""
    settings = dict(wanted.settings)
    if "work_pool" in settings and settings["work_pool"] != base["work_pool"]:
        settings.setdefault("work_queue", "default" if settings["work_pool"] else None)
    for one, other in (LIMITS, LIMITS[::-1]):
        if settings.get(one) is not None:
            settings[other] = None
    return settings


def as_new(wanted: Wanted) -> Outcome:
    """What a deployment would be at a server that nothing is known of."""
    base = new_deployment(wanted)
    after = base | settings_after(wanted, base) | {"schedules": schedules.plan(wanted.schedules or [], {}).after}
    return Outcome(True, {}, shown(after), after)


def bodies_of(settings: Mapping[str, Any], held: Mapping[str, Any], limit_id: str | None) -> list[dict[str, Any]]:
    """The bodies to send, in order, that lead from what is held to the settings.

    :param limit_id: the id of the global concurrency limit in ``settings``.
    """
    changes = differing(settings, held)
    body = {key: changes[key] for key in SAME_NAME if key in changes}
    after = {**held, **changes}
    if changes.keys() & {*PLACE, "job_variables"}:
        # They go together: without the pool, Prefect looks for the queue in another, without the queue it takes the
        # pool's default, and without both it doesn't hold job variables against the pool's template.
        body["work_pool_name"] = after["work_pool"]
        if after["work_pool"]:
            body["work_queue_name"] = after["work_queue"]
    if changes.keys() & set(COLLISION):
        body["concurrency_options"] = {
            "collision_strategy": after["collision_strategy"].upper(),
            "grace_period_seconds": after["grace_period"],
        }
    bodies = [*_detached(changes, held), body]
    if changes.get("concurrency_limit") is not None:
        body["concurrency_limit"] = changes["concurrency_limit"]
    if changes.get("global_concurrency_limit") is not None:
        body["global_concurrency_limit_id"] = limit_id
    return [one for one in bodies if one]


def _detached(changes: Mapping[str, Any], held: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What takes the present limit away: Prefect would otherwise change, or remove, a limit that others share."""
    if not changes.keys() & set(LIMITS):
        return []
    if held["global_concurrency_limit"] is not None:
        return [{"global_concurrency_limit_id": None}]
    if held["concurrency_limit"] is not None and changes.get("concurrency_limit") is None:
        return [{"concurrency_limit": None}]
    return []


class Deployments:
    """The deployments of one server."""

    def __init__(self, client: PrefectClient, *, check: bool) -> None:
        self._client = client
        self._check = check

    def all(self, filters: dict[str, Any]) -> list[dict[str, Any]]:
        found = self._client.deployments(filters)
        names = self._client.flow_names({str(one["flow_id"]) for one in found})
        listed = [facts(one, names.get(str(one["flow_id"]), "")) for one in found]
        return sorted(listed, key=lambda one: (one["flow"], one["name"]))

    def find(self, flow: str, name: str) -> dict[str, Any] | None:
        found = self._client.find_deployment(flow, name)
        return None if found is None else facts(found, flow)

    def present(self, wanted: Wanted) -> Outcome:
        """Make a deployment as it is wanted."""
        raw = self._client.find_deployment(wanted.flow, wanted.name)
        current = None if raw is None else facts(raw, wanted.flow)
        base = current or new_deployment(wanted)
        limit_id = self._checked(wanted, base)
        settings = settings_after(wanted, base)
        held = {str(one["id"]): schedules.facts(one) for one in (raw or {}).get("schedules") or []}
        changes = schedules.Changes(after=base["schedules"])
        if wanted.schedules is not None:
            changes = schedules.plan(wanted.schedules, held)
        after = base | settings | {"schedules": changes.after}
        before, then = shown(current), shown(after)
        if before == then or self._check:
            return Outcome(before != then, before, then, after)
        identity = self._write(wanted, base, settings, limit_id)
        for schedule in changes.remove:
            self._client.delete_schedule(identity, schedule)
        for schedule, body in changes.update.items():
            self._client.update_schedule(identity, schedule, body)
        if changes.create:
            self._client.create_schedules(identity, changes.create)
        return Outcome(True, before, then, self.find(wanted.flow, wanted.name))

    def absent(self, flow: str, name: str) -> Outcome:
        """Remove a deployment; its flow and its runs stay."""
        current = self.find(flow, name)
        if current is None:
            return Outcome(False, {}, {})
        if not self._check:
            self._client.delete_deployment(current["id"])
        return Outcome(True, shown(current), {})

    def _checked(self, wanted: Wanted, base: Mapping[str, Any]) -> str | None:
        """Whether what it refers to is there, before anything is written; the id of a global limit."""
        pool = wanted.settings.get("work_pool")
        if pool is not None and pool != base["work_pool"] and self._client.find_work_pool(pool) is None:
            hint = nearest(pool, (str(one["name"]) for one in self._client.work_pools()))
            raise InputError(f"work_pool: there is no work pool {pool}; {hint}")
        if wanted.settings.get("work_queue") and not {**base, **wanted.settings}["work_pool"]:
            raise InputError("work_queue: needs a work_pool")
        limit = wanted.settings.get("global_concurrency_limit")
        if limit is None or limit == base["global_concurrency_limit"]:
            return None
        limits = {str(one["name"]): str(one["id"]) for one in self._client.limits()}
        if limit not in limits:
            raise InputError(f"global_concurrency_limit: there is no limit {limit}; {nearest(limit, limits)}")
        return limits[limit]

    def _write(self, wanted: Wanted, base: Mapping[str, Any], settings: Mapping[str, Any], limit_id: str | None) -> str:
        bodies = bodies_of(settings, base, limit_id)
        if base["id"] is None:
            # Nothing is to be taken away from what is new: there is one body at most.
            body = bodies[0] if bodies else {}
            if "parameter_openapi_schema" in body:
                # It is the default, but new parameters are held against their schema only where it is said.
                body.setdefault("enforce_parameter_schema", True)
            flow = self._client.make_flow(wanted.flow)
            return self._client.create_deployment({"name": wanted.name, "flow_id": flow, **body})
        for body in bodies:
            self._client.update_deployment(base["id"], body)
        return str(base["id"])
