# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls of Prefect's REST API that the modules need, one method each."""

from __future__ import annotations

import urllib.parse
from typing import Any

from .._errors import RequestError
from .._http import HttpClient

PAGE = 200
"""The most that a server gives in one answer, unless set otherwise."""
NO_ROUTE = "Not Found"
"""What FastAPI says of a path that it doesn't know; Prefect's own 404 names the thing."""
BUSY = "Service Unavailable"
"""What Prefect itself says with status 503, as when SQLite is locked; a gateway says it otherwise."""
NOT_PREFECT = "Is api_url the address of Prefect's API? It usually ends in /api."

Json = dict[str, Any]


def explain(status: int | None, message: str) -> str:
    """What to do about an answer of Prefect."""
    if status is None:
        if "is not JSON" in message:
            return NOT_PREFECT
        return "Is the Prefect server running, and is api_url its address?"
    if status == 401:
        return "Prefect refuses auth_string: it must be what PREFECT_SERVER_API_AUTH_STRING is at the server."
    if status == 403 and "csrf" in message.lower():
        return "The server wants CSRF tokens; set PREFECT_SERVER_CSRF_PROTECTION_ENABLED to false there."
    if status in (404, 405):
        return NOT_PREFECT if message in (NO_ROUTE, "Method Not Allowed") else ""
    if status in (301, 302, 307, 308):
        return "Set api_url to the address that it redirects to."
    if status in (502, 503, 504):
        return "Prefect is not ready, or the gateway finds it not: try again when it is healthy."
    if status >= 500:
        return "The cause is in the Prefect server's log."
    return ""


def busy(error: RequestError) -> bool:
    """Whether Prefect found its database busy, and did nothing."""
    return (error.status, error.message) == (503, BUSY)


def path(*parts: str) -> str:
    """A path of names, each quoted."""
    return "".join(f"/{urllib.parse.quote(part, safe='')}" for part in parts)


class PrefectClient:
    """One Prefect server."""

    def __init__(self, http: HttpClient) -> None:
        self.http = http

    # work pools

    def find_work_pool(self, name: str) -> Json | None:
        return self._find(path("work_pools", name))

    def work_pools(self) -> list[Json]:
        return self._pages("/work_pools/filter", {})

    def create_work_pool(self, body: Json) -> None:
        self._send("POST", "/work_pools/", body)

    def update_work_pool(self, name: str, body: Json) -> None:
        self._send("PATCH", path("work_pools", name), body, repeat=True)

    def delete_work_pool(self, name: str) -> None:
        self._delete(path("work_pools", name))

    def work_queues(self, pool: str) -> list[Json]:
        return self._pages(f"{path('work_pools', pool)}/queues/filter", {})

    def create_work_queue(self, pool: str, body: Json) -> None:
        self._send("POST", f"{path('work_pools', pool)}/queues", body)

    def update_work_queue(self, pool: str, name: str, body: Json) -> None:
        self._send("PATCH", path("work_pools", pool, "queues", name), body, repeat=True)

    def delete_work_queue(self, pool: str, name: str) -> None:
        self._delete(path("work_pools", pool, "queues", name))

    def default_template(self, kind: str) -> Json | None:
        """The base job template that the server knows for a type of work pool, None for other types."""
        view = self._object("GET", "/collections/views/aggregate-worker-metadata")
        for package in view.values():
            if isinstance(package, dict) and kind in package:
                return dict(package[kind].get("default_base_job_configuration") or {})
        return None

    # automations

    def automations(self, name: str | None = None) -> list[Json]:
        """All of them, or those of one name."""
        return self._pages("/automations/filter", {} if name is None else {"automations": {"name": {"any_": [name]}}})

    def create_automation(self, body: Json) -> None:
        self._send("POST", "/automations/", body)

    def update_automation(self, automation: str, body: Json) -> None:
        self._send("PUT", path("automations", automation), body, repeat=True)

    def delete_automation(self, automation: str) -> None:
        self._delete(path("automations", automation))

    # flows, deployments

    def flow_names(self, ids: set[str]) -> dict[str, str]:
        """The names of flows, by id."""
        names: dict[str, str] = {}
        wanted = sorted(ids)
        for start in range(0, len(wanted), PAGE):
            body = {"flows": {"id": {"any_": wanted[start : start + PAGE]}}}
            names |= {str(flow["id"]): str(flow["name"]) for flow in self._pages("/flows/filter", body)}
        return names

    def make_flow(self, name: str) -> str:
        """The flow's id; it is created where it is missing."""
        return str(self._object("POST", "/flows/", {"name": name}, repeat=True)["id"])

    def find_deployment(self, flow: str, name: str) -> Json | None:
        return self._find(path("deployments", "name", flow, name))

    def deployments(self, filters: Json) -> list[Json]:
        return self._pages("/deployments/filter", filters)

    def create_deployment(self, body: Json) -> str:
        """The deployment's id; Prefect updates it where flow and name are there already."""
        return str(self._object("POST", "/deployments/", body, repeat=True)["id"])

    def update_deployment(self, identity: str, body: Json) -> None:
        self._send("PATCH", path("deployments", identity), body, repeat=True)

    def delete_deployment(self, identity: str) -> None:
        self._delete(path("deployments", identity))

    def create_schedules(self, deployment: str, schedules: list[Json]) -> None:
        self._send("POST", f"{path('deployments', deployment)}/schedules", schedules)

    def update_schedule(self, deployment: str, identity: str, body: Json) -> None:
        self._send("PATCH", path("deployments", deployment, "schedules", identity), body, repeat=True)

    def delete_schedule(self, deployment: str, identity: str) -> None:
        self._delete(path("deployments", deployment, "schedules", identity))

    def limits(self) -> list[Json]:
        """The global concurrency limits."""
        return self._pages("/v2/concurrency_limits/filter", {})

    # runs

    def find_flow_run(self, identity: str) -> Json | None:
        return self._find(path("flow_runs", identity))

    def flow_runs(self, filters: Json, limit: int) -> list[Json]:
        """The newest runs first."""
        return self._pages("/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC", **filters}, limit)

    def create_flow_run(self, deployment: str, body: Json) -> Json:
        """With an idempotency key in the body, a repeat answers with the run that is there."""
        return self._object("POST", f"{path('deployments', deployment)}/create_flow_run", body, repeat=True)

    def set_flow_run_state(self, identity: str, state: Json) -> Json:
        """What Prefect's orchestration made of it: ``status``, and ``details`` with a reason."""
        return self._object("POST", f"{path('flow_runs', identity)}/set_state", {"state": state}, repeat=True)

    def delete_flow_run(self, identity: str) -> None:
        self._delete(path("flow_runs", identity))

    def task_runs(self, flow_run: str, states: list[str], limit: int) -> list[Json]:
        return self._pages("/task_runs/filter", _of_run(flow_run, states) | {"sort": "END_TIME_DESC"}, limit)

    def count_task_runs(self, flow_run: str, states: list[str]) -> int:
        return int(self._send("POST", "/task_runs/count", _of_run(flow_run, states), repeat=True))

    def logs(self, flow_run: str, level: int, limit: int) -> list[Json]:
        """The last lines of a run and its tasks, the newest first."""
        filters = {"flow_run_id": {"any_": [flow_run]}, "level": {"ge_": level}}
        return self._pages("/logs/filter", {"logs": filters, "sort": "TIMESTAMP_DESC"}, limit)

    def _send(self, method: str, where: str, body: Any = None, *, repeat: bool | None = None) -> Any:
        return self.http.json(method, where, body=body, repeat=repeat)

    def _object(self, method: str, where: str, body: Any = None, *, repeat: bool | None = None) -> Json:
        answer = self._send(method, where, body, repeat=repeat)
        if isinstance(answer, dict):
            return answer
        raise self._unexpected(method, where, answer)

    def _find(self, where: str) -> Json | None:
        try:
            return self._object("GET", where)
        except RequestError as error:
            if error.status == 404 and not error.unreachable and error.message != NO_ROUTE:
                return None
            raise

    def _delete(self, where: str) -> None:
        """A repeat of a removal finds nothing, which is what was wanted."""
        try:
            self._send("DELETE", where, repeat=True)
        except RequestError as error:
            if error.status != 404 or error.unreachable or error.message == NO_ROUTE:
                raise

    def _pages(self, where: str, body: Json, limit: int | None = None) -> list[Json]:
        found: list[Json] = []
        while limit is None or len(found) < limit:
            size = PAGE if limit is None else min(PAGE, limit - len(found))
            answer = self._send("POST", where, {**body, "limit": size, "offset": len(found)}, repeat=True)
            if not isinstance(answer, list):
                raise self._unexpected("POST", where, answer)
            found += answer
            if len(answer) < size:
                break
        return found

    def _unexpected(self, method: str, where: str, answer: Any) -> RequestError:
        message = f"the answer is of another form than Prefect's: {str(answer)[:100]!r}"
        return RequestError(method, self.http.address(where), message, hint=NOT_PREFECT)


def _of_run(flow_run: str, states: list[str]) -> Json:
    return {
        "flow_runs": {"id": {"any_": [flow_run]}},
        "task_runs": {"state": {"type": {"any_": states}}},
    }
