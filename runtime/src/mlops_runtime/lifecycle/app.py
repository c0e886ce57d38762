# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The controller's HTTP interfaces: webhooks in, the ledger out, answers of people; and, inside, how it is."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import psycopg
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlops_runtime.lifecycle import alerts, page, web
from mlops_runtime.lifecycle.clients import ALERT, APPROVE, READ, Client, Clients
from mlops_runtime.lifecycle.controller import REFUSED, Controller, NotKnownYetError
from mlops_runtime.lifecycle.ledger import reading, served
from mlops_runtime.lifecycle.ledger.deciding import UnanswerableError
from mlops_runtime.lifecycle.web import Document, Refused

log = logging.getLogger(__name__)

WEBHOOK_LIMIT: Final = 512 * 2**10
ANSWER_LIMIT: Final = 16 * 2**10
_REASON: Final = 500
_Reading = Callable[[Any], list[alerts.Alert | alerts.Unusable]]


class Interface:
    """The endpoints, and what they share."""

    def __init__(self, controller: Controller, clients: Clients, page_key: bytes) -> None:
        self._controller = controller
        self._clients = clients
        self._tokens = page.Tokens(page_key)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                self._route("/", self.page, "GET"),
                self._route("/episodes/{id}/{answer:str}", self.form, "POST"),
                self._route("/v1/alerts", self.webhook, "POST"),
                self._route("/api/v2/alerts", self.posted, "POST"),
                self._route("/v1/models", self.models, "GET"),
                self._route("/v1/episodes", self.episodes, "GET"),
                self._route("/v1/episodes/{id}", self.episode, "GET"),
                self._route("/v1/episodes/{id}/{answer:str}", self.answer, "POST"),
                self._route("/v1/decisions", self.decisions, "GET"),
                self._route("/v1/served", self.served, "GET"),
                self._route("/v1/refusals", self.refusals, "GET"),
            ],
            lifespan=self.lifespan,
        )

    def inside(self) -> Starlette:
        """For probes and Prometheus: without a login, so on a port that no gateway leads to."""
        return Starlette(
            routes=[
                self._route("/health/live", self.live, "GET"),
                self._route("/health/ready", self.ready, "GET"),
                self._route("/metrics", self.metrics, "GET"),
            ]
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with self._controller.running():
            yield

    # Alerts

    async def webhook(self, request: Request) -> Response:
        """Grafana's or Alertmanager's: 200 once the ledger has all of it, 422 where it has all but what was refused."""
        told, refused = await self._take(request, alerts.read)
        if refused:
            raise Refused(422, "; ".join(sorted({item["reason"] for item in refused})), alerts=told)
        return Document({"alerts": told})

    async def posted(self, request: Request) -> Response:
        """What Prometheus sends, as to an Alertmanager: it sends all again in any case, so nothing is refused."""
        told, _ = await self._take(request, alerts.read_posted)
        return Document({"alerts": told})

    async def _take(self, request: Request, read: _Reading) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """The body's alerts into the ledger: what became of each, and those that were refused."""
        client = None
        try:
            client = self._client(request, ALERT)
            found = read(await web.json_body(request, WEBHOOK_LIMIT))
        except alerts.MalformedError as error:
            self._controller.refusals.add("malformed", f"{client.name if client else ''}: {error}")
            raise Refused(400, str(error)) from None
        except Refused as refused:
            kind = {401: "credentials", 403: "rights", 413: "too large"}.get(refused.code, "malformed")
            self._controller.refusals.add(kind, f"{client.name}: {refused}" if client else str(refused))
            raise
        try:
            told = await self._controller.receive(found)
        except NotKnownYetError:
            raise Refused(503, "the registry hasn't answered yet: send it again") from None
        refused_ones = [item for item in told if item["outcome"] == REFUSED]
        for item in refused_ones:
            self._controller.refusals.add("alert", f"{client.name}: {item['alert']}: {item['reason']}")
        return told, refused_ones

    # The ledger

    async def models(self, request: Request) -> Response:
        self._client(request, READ)
        async with self._controller.pool.connection() as connection:
            return Document({"models": await reading.registered(connection)})

    async def episodes(self, request: Request) -> Response:
        """The newest first: `model`, `limit`, `open`."""
        self._client(request, READ)
        limit, open_only = web.limit_of(request), "open" in request.query_params
        async with self._controller.pool.connection() as connection:
            found = await reading.episodes(connection, web.model_of(request), limit, open_only=open_only)
        return Document({"episodes": found})

    async def episode(self, request: Request) -> Response:
        self._client(request, READ)
        return Document(await self._episode(request))

    async def _episode(self, request: Request) -> dict[str, Any]:
        async with self._controller.pool.connection() as connection:
            found = await reading.episode(connection, web.identity(request))
        if found is None:
            raise Refused(404, "there is no such episode")
        return found

    async def decisions(self, request: Request) -> Response:
        """The newest first: `model`, `limit`."""
        self._client(request, READ)
        model, limit = web.model_of(request), web.limit_of(request)
        async with self._controller.pool.connection() as connection:
            return Document({"decisions": await reading.decisions(connection, model, limit)})

    async def served(self, request: Request) -> Response:
        """What served when and why, the newest first: `model`, `limit`."""
        self._client(request, READ)
        model, limit = web.model_of(request), web.limit_of(request)
        async with self._controller.pool.connection() as connection:
            return Document({"served": await served.history(connection, model, limit)})

    async def refusals(self, request: Request) -> Response:
        """Webhooks that were refused, the newest first: `limit`. They are written within a few seconds."""
        self._client(request, READ)
        async with self._controller.pool.connection() as connection:
            return Document({"refusals": await reading.refusals(connection, web.limit_of(request))})

    # Answers of people

    async def answer(self, request: Request) -> Response:
        """`approve` or `refuse`, with `{"reason": "..."}` or nothing but `{}`."""
        client = self._client(request, APPROVE)
        # A page of somebody else's could send a form with the browser's credentials, but not this type.
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise Refused(415, "Content-Type: application/json is needed")
        given = await web.json_body(request, ANSWER_LIMIT)
        reason = given.get("reason", "") if isinstance(given, dict) else None
        if not alerts.is_text(reason) or set(given) - {"reason"} or len(reason) > _REASON:
            raise Refused(422, f"the body must be an object with nothing but a reason of at most {_REASON} characters")
        await self._answer(request, client, reason)
        return Document(await self._episode(request))

    async def form(self, request: Request) -> Response:
        """The same from the page."""
        client = self._client(request, APPROVE)
        fields = page.fields(await web.body(request, ANSWER_LIMIT))
        if not self._tokens.holds(fields.get("token", ""), client.name, request.path_params["id"]):
            raise Refused(403, "the page is too old: load it again")
        await self._answer(request, client, fields.get("reason", "").replace("\0", "")[:_REASON])
        return Response(status_code=303, headers={"location": "../../"})

    async def _answer(self, request: Request, client: Client, reason: str) -> None:
        given = request.path_params["answer"]
        if given not in ("approve", "refuse"):
            raise Refused(404, "there are approve and refuse")
        identity = web.identity(request)
        try:
            await self._controller.answer(identity, approve=given == "approve", by=client.name, reason=reason)
        except UnanswerableError as error:
            raise Refused(409, str(error)) from None
        log.info("%s: episode %s, %s", client.name, identity, given)

    # The page

    async def page(self, request: Request) -> Response:
        client = self._client(request, READ)
        async with self._controller.pool.connection() as connection:
            seen = await page.look(connection)
        return page.answer(
            seen,
            problems=self._controller.problems.now,
            token=(lambda episode: self._tokens.make(client.name, str(episode))) if APPROVE in client.may else None,
        )

    # How it is

    async def live(self, _: Request) -> Response:
        """The process answers. A restart would bring nothing back that is away."""
        return Document({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """Whether alerts can be decided on; what else is away is named, and waited for."""
        reasons = await self._controller.not_ready()
        document: dict[str, Any] = {
            "status": "not ready" if reasons else "ready",
            "reasons": reasons,
            "problems": self._controller.problems.now,
        }
        return Document(document, 503 if reasons else 200)

    async def metrics(self, _: Request) -> Response:
        return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})

    def _client(self, request: Request, right: str) -> Client:
        client = self._clients.authenticate(request.headers.get("authorization"))
        if client is None:
            raise Refused(401, "a client's name and password are needed, or its token")
        if right not in client.may:
            raise Refused(403, f"{client.name} may not {right}")
        return client

    def _route(self, path: str, endpoint: web.Endpoint, method: str) -> Route:
        async def answer(request: Request) -> Response:
            try:
                return await endpoint(request)
            except Refused as refused:
                response = Document(refused.document, refused.code)
                if refused.code == 401:
                    response.headers["www-authenticate"] = 'Basic realm="lifecycle", charset="UTF-8"'
            except psycopg.Error as error:
                # Its message may tell where the ledger is, never its password.
                log.warning("%s: the ledger doesn't answer: %s", request.url.path, error)
                response = Document({"error": "the ledger doesn't answer: send it again"}, 503)
            if response.status_code == 503:
                response.headers["retry-after"] = "5"
            return response

        return Route(path, answer, methods=[method])
