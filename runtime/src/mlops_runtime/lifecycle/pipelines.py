# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline server, Prefect 3: starting a run once, and how it went in truth."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import httpx

_SECONDS: Final = 8.0
COMPLETED: Final = "completed"
CRASHED: Final = "crashed"
_FINAL: Final = frozenset({COMPLETED, "failed", CRASHED, "cancelled"})
_FAILED: Final = ["FAILED", "CRASHED"]
_OPEN: Final = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]
_QUIET_SECONDS: Final = 3.0
"""So long after a run's end the server may still learn of its tasks."""
_AT_ONCE: Final = 100
_TOLD: Final = 300


class PipelinesError(Exception):
    """The pipeline server didn't do what it was asked for; the message says what to do where that is known."""


@dataclass(frozen=True)
class Run:
    """A run as the server has it. Times are RFC 3339."""

    id: UUID
    name: str
    state: str
    began_at: str | None = None
    ended_at: str | None = None
    outcome: str = ""
    """How it ended: completed, failed, crashed or cancelled; empty while it hasn't."""
    reason: str = ""


class Prefect:
    """A client of one server. `auth`: user and password with a colon between them, or empty."""

    def __init__(self, url: str, auth: str = "", seconds: float = _SECONDS) -> None:
        user, _, password = auth.partition(":")
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            auth=(user, password) if auth else None,
            timeout=seconds,
            # Of connecting alone: what has reached the server is never sent twice in here.
            transport=httpx.AsyncHTTPTransport(retries=2),
        )
        self._url = url
        self._seen_completed: dict[UUID, float] = {}

    async def close(self) -> None:
        await self._client.aclose()

    async def start(self, deployment: str, key: str, values: Mapping[str, Any], tags: Iterable[str]) -> Run:
        """Starts the deployment's run with this key, or finds it where it is there already.

        Of `values` the flow is given those that it has parameters for. Raises PipelinesError.
        """
        # A deployment that was made anew for another flow would take the same key again.
        there = await self._runs({"idempotency_key": {"any_": [key]}})
        if there:
            return _run(there[0])
        found = await self._post(
            "/deployments/filter", {"deployments": {"name": {"any_": [deployment]}}, "limit": 2}, list
        )
        if not found:
            raise PipelinesError(f"{self._url}: there is no deployment {deployment}; declare it (mlops_models)")
        if len(found) > 1:
            raise PipelinesError(f"{self._url}: several flows have a deployment {deployment}; remove all but one")
        taken = ((found[0].get("parameter_openapi_schema") or {}).get("properties") or {}).keys()
        body = {
            "idempotency_key": key,
            "parameters": {name: value for name, value in values.items() if name in taken},
            "tags": list(tags),
        }
        return _run(await self._post(f"/deployments/{found[0]['id']}/create_flow_run", body, dict))

    async def runs(self, ids: Iterable[UUID]) -> dict[UUID, Run]:
        """Those that the server knows, with their true outcome: a run of which a task failed has failed."""
        wanted, found = [str(identity) for identity in ids], {}
        for begin in range(0, len(wanted), _AT_ONCE):
            for item in await self._runs({"id": {"any_": wanted[begin : begin + _AT_ONCE]}}):
                run = _run(item)
                found[run.id] = await self._judged(run, item) if run.state in _FINAL else run
        return found

    async def resume(self, run: Run, seconds: float) -> None:
        """Has a run that crashed begun again after so many seconds: the same run, by whichever worker takes it.

        Raises PipelinesError.
        """
        due = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        state = {
            "type": "SCHEDULED",
            "name": "AwaitingRetry",
            "message": "It crashed; the lifecycle controller has it begun again.",
            "state_details": {"scheduled_time": due},
        }
        answer = await self._post(f"/flow_runs/{run.id}/set_state", {"state": state}, dict)
        if answer.get("status") != "ACCEPT":
            why = str((answer.get("details") or {}).get("reason") or answer.get("status"))
            raise PipelinesError(f"{self._url}: run {run.name} can't be begun again: {why[:_TOLD]}")

    async def _judged(self, run: Run, item: Mapping[str, Any]) -> Run:
        reason, outcome = str((item.get("state") or {}).get("message") or "")[:_TOLD], run.state
        if run.state == COMPLETED:
            seen = self._seen_completed.setdefault(run.id, time.monotonic())
            if time.monotonic() - seen < _QUIET_SECONDS or await self._tasks(run.id, _OPEN):
                return run
            failed = await self._tasks(run.id, _FAILED)
            outcome = "failed" if failed else COMPLETED
            reason = f"it ended Completed, but {failed} of its task runs failed" if failed else ""
            del self._seen_completed[run.id]
        return replace(run, outcome=outcome, reason=reason)

    async def _tasks(self, run: UUID, states: list[str]) -> int:
        filters = {"flow_runs": {"id": {"any_": [str(run)]}}, "task_runs": {"state": {"type": {"any_": states}}}}
        return int(await self._post("/task_runs/count", filters, int))

    async def _runs(self, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self._post(
            "/flow_runs/filter", {"flow_runs": filters, "limit": _AT_ONCE}, list
        )
        return found

    async def _post(self, path: str, body: Mapping[str, Any], kind: type) -> Any:
        try:
            answer = await self._client.post(path, json=body)
        except httpx.HTTPError as error:
            raise PipelinesError(f"{self._url}{path}: {str(error) or type(error).__name__}") from error
        if answer.is_error:
            hint = "; the user or password is another one" if answer.status_code in (401, 403) else ""
            raise PipelinesError(f"{self._url}{path}: {answer.status_code} {answer.text[:_TOLD].strip()}{hint}")
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, kind):
            raise PipelinesError(f"{self._url}{path}: no {kind.__name__} in the answer; is it Prefect's API?")
        return found


def _run(item: Mapping[str, Any]) -> Run:
    try:
        return Run(
            id=UUID(item["id"]),
            name=str(item["name"]),
            state=str(item["state_type"] or "").lower(),
            began_at=item.get("start_time"),
            ended_at=item.get("end_time"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PipelinesError(f"a flow run without its id, name or state: {error!r}") from error
