# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The agent as a worker sees it: the runs of its client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

FLOW_RUN = "prefect.flow-run"
POOL = "prefect.work-pool"
PATIENCE = "prefect.patience"
"""Labels of a run: what it is for, whose it is, and for how many seconds it may wait for a node."""
DEFAULT_PATIENCE = 3600.0
TIMEOUT = 60.0


class AgentAway(Exception):
    """No answer, or none that counts: another try may do."""


class Refused(Exception):
    """The agent says no, and why."""

    def __init__(self, status: int, error: str, problems: list[str]) -> None:
        self.status = status
        super().__init__("; ".join([error, *problems]) if problems else error)

    @property
    def for_now(self) -> bool:
        """Whether it is a matter of waiting until others have ended."""
        return self.status == 429


@dataclass(frozen=True)
class Job:
    """One run in the agent's words. state: waiting, starting, running, succeeded, failed, lost."""

    name: str
    state: str
    created: datetime
    since: datetime
    reason: str = ""
    exit_code: int | None = None
    node: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.state in ("succeeded", "failed", "lost")

    @property
    def flow_run(self) -> str:
        return self.labels.get(FLOW_RUN, "")

    @property
    def patience(self) -> float:
        try:
            return float(self.labels[PATIENCE])
        except (KeyError, ValueError):
            return DEFAULT_PATIENCE

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Job:
        created = _time(document.get("created"))
        return cls(
            name=str(document["name"]),
            state=str(document["state"]),
            created=created,
            since=_time(document.get("since"), created),
            reason=str(document.get("reason") or ""),
            exit_code=document.get("exit_code"),
            node=str(document.get("node") or ""),
            labels=dict(document.get("labels") or {}),
        )


class Agent:
    """One connection to the agent."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT, trust_env=False
        )

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Agent:
        """Raises ValueError naming the variable that is missing or wrong."""
        url, file = environment.get("MLOPS_WORKER_AGENT", ""), environment.get("MLOPS_WORKER_AGENT_TOKEN_FILE", "")
        if not url or not file:
            raise ValueError(
                "MLOPS_WORKER_AGENT and MLOPS_WORKER_AGENT_TOKEN_FILE say where the agent is, and who asks it"
            )
        try:
            token = Path(file).read_text().strip()
        except OSError as error:
            raise ValueError(f"MLOPS_WORKER_AGENT_TOKEN_FILE: {error}") from None
        return cls(url, token)

    async def close(self) -> None:
        await self._client.aclose()

    async def runs(self) -> list[Job]:
        answer = await self._ask("GET", "/v1/runs")
        return [Job.read(document) for document in answer.json()["runs"]]

    async def start(self, name: str, body: Mapping[str, Any]) -> Job:
        """The same request twice is one run. Raises Refused, AgentAway."""
        return Job.read((await self._ask("PUT", f"/v1/runs/{name}", body)).json())

    async def remove(self, name: str) -> bool:
        """Whether it was there."""
        try:
            await self._ask("DELETE", f"/v1/runs/{name}")
        except Refused as error:
            if error.status == 404:
                return False
            raise
        return True

    async def last_lines(self, name: str, lines: int) -> list[str]:
        """Of its log; none where it can't be had."""
        try:
            answer = await self._ask("GET", f"/v1/runs/{name}/logs?lines={lines}")
        except (Refused, AgentAway):
            return []
        return [str(line) for line in answer.json()["lines"]]

    async def _ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        try:
            answer = await self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise AgentAway(f"the agent doesn't answer: {type(error).__name__}: {error}") from None
        if answer.status_code < 400:
            return answer
        try:
            told = answer.json()
            said, problems = str(told["error"]), [str(problem) for problem in told.get("problems") or []]
        except (ValueError, KeyError, TypeError, AttributeError):
            said, problems = answer.text[:300], []
        if answer.status_code >= 500:
            raise AgentAway(f"the agent can't do it now ({answer.status_code}): {'; '.join([said, *problems])}")
        raise Refused(answer.status_code, said, problems)


def _time(text: Any, default: datetime | None = None) -> datetime:
    """RFC 3339; what can't be read is now."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return default or datetime.now(UTC)
