# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work pools with their queues: read, compare, write."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._errors import InputError, RequestError
from .._outcome import Outcome
from .client import PrefectClient
from .comparison import as_limit, check_name, declared, differing, nearest

BODY = {
    "description": "description",
    "paused": "is_paused",
    "concurrency_limit": "concurrency_limit",
    "base_job_template": "base_job_template",
    "storage_configuration": "storage_configuration",
    "priority": "priority",
}
"""The API's names of what may change, for pools and queues."""
SHOWN = ("name", "type", "description", "paused", "concurrency_limit", "base_job_template", "storage_configuration")
DEFAULT_QUEUE = "default"


@dataclass(frozen=True)
class Wanted:
    """A work pool as declared; what is not given is not among ``settings``."""

    name: str
    kind: str | None
    settings: dict[str, Any] = field(default_factory=dict)
    job_variables: dict[str, Any] = field(default_factory=dict)
    queues: dict[str, dict[str, Any]] = field(default_factory=dict)
    absent_queues: frozenset[str] = frozenset()
    purge_queues: bool = False


def parse(params: Mapping[str, Any]) -> Wanted:
    """A work pool as the module's options have it.

    :raises InputError: for what Prefect would refuse.
    """
    name = params["name"]
    check_name("name", name)
    if name.lower().startswith("prefect"):
        raise InputError(f"name: {name!r} is refused by Prefect, which keeps names that begin with prefect for itself")
    settings = declared(
        params, "description", "paused", "concurrency_limit", "base_job_template", "storage_configuration"
    )
    if "concurrency_limit" in settings:
        settings["concurrency_limit"] = as_limit("concurrency_limit", settings["concurrency_limit"], 0)
    if "storage_configuration" in settings:
        settings["storage_configuration"] = {
            key: value for key, value in settings["storage_configuration"].items() if value is not None
        }
    queues, absent = _parse_queues(params["queues"])
    return Wanted(name, params["type"], settings, params["job_variables"] or {}, queues, absent, params["purge_queues"])


def _parse_queues(values: Sequence[Mapping[str, Any]]) -> tuple[dict[str, dict[str, Any]], frozenset[str]]:
    queues: dict[str, dict[str, Any]] = {}
    absent: set[str] = set()
    for number, value in enumerate(values):
        where, name = f"queues[{number}]", value["name"]
        check_name(f"{where}.name", name)
        if name in queues or name in absent:
            raise InputError(f"{where}.name: {name} is given twice")
        if value["state"] == "absent":
            if name == DEFAULT_QUEUE:
                raise InputError(f"{where}: the queue {DEFAULT_QUEUE} can't be removed, every work pool has it")
            absent.add(name)
            continue
        queue = declared(value, "description", "paused", "concurrency_limit", "priority")
        if "concurrency_limit" in queue:
            queue["concurrency_limit"] = as_limit(f"{where}.concurrency_limit", queue["concurrency_limit"], 0)
        priority = queue.get("priority", 1)
        if priority < 1:
            raise InputError(f"{where}.priority: must be 1 or more; 1 comes first")
        if "priority" in queue and any(other.get("priority") == priority for other in queues.values()):
            raise InputError(f"{where}.priority: {priority} is given twice; Prefect keeps them apart")
        queues[name] = queue
    return queues, frozenset(absent)


def pool_facts(pool: Mapping[str, Any], queues: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A work pool in the collection's form."""
    return {
        "id": str(pool["id"]),
        "name": str(pool["name"]),
        "type": str(pool["type"]),
        "description": pool.get("description") or "",
        "paused": bool(pool["is_paused"]),
        "concurrency_limit": pool.get("concurrency_limit"),
        "base_job_template": pool.get("base_job_template") or {},
        "storage_configuration": {
            key: value for key, value in (pool.get("storage_configuration") or {}).items() if value is not None
        },
        "status": str(pool.get("status") or "").lower(),
        "queues": sorted(map(queue_facts, queues), key=lambda queue: (queue["priority"], queue["name"])),
        "created": pool.get("created"),
        "updated": pool.get("updated"),
    }


def queue_facts(queue: Mapping[str, Any]) -> dict[str, Any]:
    """A work queue in the collection's form."""
    return {
        "name": str(queue["name"]),
        "description": queue.get("description") or "",
        "paused": bool(queue["is_paused"]),
        "concurrency_limit": queue.get("concurrency_limit"),
        "priority": int(queue["priority"]),
        "status": str(queue.get("status") or "").lower(),
    }


def with_defaults(template: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A base job template whose variables have these defaults.

    :raises InputError: for a variable that the template doesn't have.
    """
    made = copy.deepcopy(dict(template))
    properties = (made.get("variables") or {}).get("properties") or {}
    for name, value in values.items():
        if name not in properties:
            raise InputError(
                f"job_variables: the base job template has no variable {name}; {nearest(name, properties)}"
            )
        properties[name]["default"] = value
    return made


def by_name(queues: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Queues by their names."""
    return {queue["name"]: queue for queue in queues}


def shown(facts: Mapping[str, Any] | None) -> dict[str, Any]:
    """The part of a pool that declarations are about, for the diff."""
    if facts is None:
        return {}
    queues = {
        name: {key: value for key, value in one.items() if key not in ("name", "status")}
        for name, one in by_name(facts["queues"]).items()
    }
    return {key: facts[key] for key in SHOWN} | {"queues": queues}


class WorkPools:
    """The work pools of one server."""

    def __init__(self, client: PrefectClient, *, check: bool) -> None:
        self._client = client
        self._check = check

    def all(self) -> list[dict[str, Any]]:
        pools = self._client.work_pools()
        facts = [pool_facts(pool, self._client.work_queues(str(pool["name"]))) for pool in pools]
        return sorted(facts, key=lambda pool: str(pool["name"]))

    def find(self, name: str) -> dict[str, Any] | None:
        pool = self._client.find_work_pool(name)
        return None if pool is None else pool_facts(pool, self._client.work_queues(name))

    def present(self, wanted: Wanted) -> Outcome:
        """Make a work pool as it is wanted."""
        current = self.find(wanted.name)
        if current is None and wanted.kind is None:
            raise InputError(
                f"type: the work pool {wanted.name} doesn't exist yet, so it needs a type, such as process"
            )
        if current is not None and wanted.kind not in (None, current["type"]):
            raise InputError(
                f"type: the work pool {wanted.name} is of type {current['type']}, and Prefect can't change that; "
                "remove it first, or choose another name"
            )
        base = current or new_pool(wanted)
        if self._needs_template(wanted, base):
            # The type's own, as Prefect's command line takes it; a type that the server doesn't know has none.
            base = base | {"base_job_template": self._client.default_template(base["type"]) or {}}
        settings = settings_after(wanted, base)
        remove, queues = queues_after(wanted, by_name(base["queues"]))
        after = base | settings | {"queues": list(queues.values())}
        before, then = shown(current), shown(after)
        if before == then or self._check:
            return Outcome(before != then, before, then, after)
        if current is None:
            body = {"name": wanted.name, "type": wanted.kind, "base_job_template": after["base_job_template"]}
            try:
                self._client.create_work_pool(body | _body(settings))
            except RequestError as error:
                if error.status != 409:
                    raise
                # A worker that starts makes its pool, too, and this one was quicker.
                return self.present(wanted)
        elif changes := differing(settings, current):
            self._client.update_work_pool(wanted.name, _body(changes))
        self._write_queues(wanted, remove)
        return Outcome(True, before, then, self.find(wanted.name))

    def absent(self, name: str) -> Outcome:
        """Remove a work pool with its queues."""
        current = self.find(name)
        if current is None:
            return Outcome(False, {}, {})
        if not self._check:
            self._client.delete_work_pool(name)
        return Outcome(True, shown(current), {})

    def _needs_template(self, wanted: Wanted, base: Mapping[str, Any]) -> bool:
        if "base_job_template" in wanted.settings or base["base_job_template"]:
            return False
        return base["id"] is None or bool(wanted.job_variables)

    def _write_queues(self, wanted: Wanted, to_remove: Sequence[str]) -> None:
        """In the order of their priorities, each after a look: Prefect moves others to make room."""
        for name in to_remove:
            self._client.delete_work_queue(wanted.name, name)
        for name, settings in sorted(wanted.queues.items(), key=lambda one: one[1].get("priority", 0)):
            held = {str(queue["name"]): queue_facts(queue) for queue in self._client.work_queues(wanted.name)}
            if name not in held:
                self._client.create_work_queue(wanted.name, {"name": name} | _body(settings))
            elif changes := differing(settings, held[name]):
                self._client.update_work_queue(wanted.name, name, _body(changes))


def new_pool(wanted: Wanted) -> dict[str, Any]:
    """A pool as Prefect makes it, before anything is set."""
    queue = {"name": DEFAULT_QUEUE, "description": "The work pool's default queue.", "is_paused": False, "priority": 1}
    pool = {"id": "", "name": wanted.name, "type": wanted.kind, "is_paused": False}
    return pool_facts(pool, [queue]) | {"id": None}


def as_new(wanted: Wanted) -> Outcome:
    """What a pool would be at a server that nothing is known of."""
    base = new_pool(wanted)
    # Which variables a template has is not known before there is one.
    settings = settings_after(wanted, base) if "base_job_template" in wanted.settings else wanted.settings
    after = base | settings | {"queues": list(queues_after(wanted, by_name(base["queues"]))[1].values())}
    return Outcome(True, {}, shown(after), after)


def settings_after(wanted: Wanted, base: Mapping[str, Any]) -> dict[str, Any]:
    """What is wanted, with the parts of the present settings that it leaves alone."""
    settings = dict(wanted.settings)
    if "storage_configuration" in settings:
        settings["storage_configuration"] = base["storage_configuration"] | settings["storage_configuration"]
    if wanted.job_variables:
        template = settings.get("base_job_template", base["base_job_template"])
        settings["base_job_template"] = with_defaults(template, wanted.job_variables)
    return settings


def queues_after(wanted: Wanted, current: Mapping[str, dict[str, Any]]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The queues to remove, and what the queues become. Others that Prefect moves to make room aren't foreseen."""
    extra = set(current) - set(wanted.queues) - {DEFAULT_QUEUE} if wanted.purge_queues else set()
    remove = sorted((set(current) & wanted.absent_queues) | extra)
    after = {name: queue for name, queue in current.items() if name not in remove}
    blank = {"description": "", "paused": False, "concurrency_limit": None, "priority": None, "status": ""}
    for name, settings in wanted.queues.items():
        after[name] = after.get(name, {"name": name} | blank) | settings
    return remove, after


def _body(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {BODY[key]: value for key, value in settings.items()}
