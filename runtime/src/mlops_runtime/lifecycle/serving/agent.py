# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The agent, which holds the cluster: one set of workloads is this client's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

_SECONDS: Final = 10.0
_TOLD: Final = 500


class AgentError(Exception):
    """The agent didn't take the set, or didn't answer; the message has its reasons."""


@dataclass(frozen=True)
class Running:
    """A workload of the set that is healthy in the version that its labels say."""

    name: str
    model: str
    version: str
    role: str


@dataclass(frozen=True)
class Status:
    """How far the set is. state: converging, removing, healthy, removed, failed; empty where there is none."""

    state: str = ""
    reasons: tuple[str, ...] = ()
    running: tuple[Running, ...] = ()

    @property
    def settled(self) -> bool:
        return self.state not in ("converging", "removing")


class Agent:
    """A client for one set."""

    def __init__(self, url: str, token: str, set_name: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = f"{url.rstrip('/')}/v1/sets/{set_name}"
        self._client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {token}"},
            timeout=_SECONDS,
            transport=transport or httpx.AsyncHTTPTransport(retries=2),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def want(self, document: Mapping[str, Any]) -> None:
        """Hands the whole set over; the same once more changes nothing. Raises AgentError."""
        await self._call("PUT", document)

    async def status(self) -> Status:
        """Raises AgentError."""
        found = await self._call("GET")
        if found is None:
            return Status()
        return Status(
            state=str(found.get("state", "")),
            reasons=tuple(str(reason) for reason in found.get("reasons", [])),
            running=tuple(
                Running(str(item["name"]), labels["model"], labels["model.version"], labels["model.role"])
                for item in found.get("observed", [])
                if item.get("healthy")
                and (labels := item.get("labels") or {}).keys() >= {"model", "model.version", "model.role"}
            ),
        )

    async def _call(self, method: str, document: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        try:
            answer = await self._client.request(method, self._url, json=document)
        except httpx.HTTPError as error:
            raise AgentError(f"{method} {self._url}: {str(error) or type(error).__name__}") from error
        if answer.status_code == 404 and method == "GET":
            return None
        try:
            found = answer.json()
        except ValueError:
            found = None
        if answer.is_error or not isinstance(found, dict):
            told = found if isinstance(found, dict) else {}
            reasons = "; ".join([str(told.get("error", answer.text[:_TOLD])), *map(str, told.get("problems", []))])
            raise AgentError(f"{method} {self._url}: {answer.status_code} {reasons}")
        return found
