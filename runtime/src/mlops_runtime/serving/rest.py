# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""REST: Seldon's paths, as an ASGI application."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from mlops_runtime.contracts.metrics import CLIENT_REQUESTS_SECONDS, SERVER_REQUESTS_SECONDS
from mlops_runtime.serving import wire
from mlops_runtime.serving.errors import ErrorHandler, error_body, status_of
from mlops_runtime.serving.metrics import REQUEST_BOUNDS, Histogram, Registry
from mlops_runtime.serving.model import PREDICT, ROUTE, TRANSFORM_INPUT, TRANSFORM_OUTPUT, Call, Model, Verb
from mlops_runtime.serving.openapi import description
from mlops_runtime.serving.payload import json_of_proto, proto_of_json
from mlops_runtime.serving.records import Records, header_of
from mlops_runtime.serving.scheduler import Scheduler
from mlops_runtime.serving.seldon import SeldonMicroserviceException, messages
from mlops_runtime.serving.state import State

log = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Handler = Callable[["Request"], Awaitable[tuple[int, bytes]]]

HEALTH_PATHS = ("/health/status", "/api/v1.0/health/status", "/ready")
HOLD_SECONDS = 4.0
"""So long who asks a server that is loading is kept waiting; shorter than any probe of ours waits."""
_JSON = [(b"content-type", b"application/json"), (b"access-control-allow-origin", b"*")]
_TEXT = [(b"content-type", b"text/html; charset=utf-8"), (b"access-control-allow-origin", b"*")]


class Request:
    __slots__ = ("body", "content_type", "id", "method", "path", "puid", "query")

    def __init__(self, scope: Scope, body: bytes) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.body = body
        self.content_type = ""
        self.puid = ""  # that the client or Seldon's executor sent as a header
        self.id: str | None = None  # under which a prediction is recorded
        for name, value in scope["headers"]:
            if name == b"content-type":
                self.content_type = value.decode("latin-1")
            elif name == b"seldon-puid":
                self.puid = value.decode("latin-1")

    def decode(self) -> Any:
        return wire.decode(self.body, self.content_type, self.query)


class RequestTimes:
    """The two histograms of Seldon's executor: requests as the client sees them, and calls of the model."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[tuple[str, str, str], tuple[Histogram, Histogram]] = {}
        self.latest = 0.0
        """When a request was last answered, by the monotonic clock."""
        # Of a series that begins above zero Prometheus doesn't know how fast it got there: a rule would miss the first.
        self._of("predictions", "post", "200")

    def observe(self, service: str, method: str, code: str, seconds: float) -> None:
        self.latest = time.monotonic()
        for histogram in self._of(service, method, code):
            histogram.observe(seconds)

    def _of(self, service: str, method: str, code: str) -> tuple[Histogram, Histogram]:
        key = (service, method, code)
        pair = self._known.get(key)
        if pair is None:
            labels = self._registry.labels
            about = {"service": service, "method": method, "code": code}
            server = {name: labels[name] for name in ("deployment_name", "predictor_name", "predictor_version")}
            pair = self._known[key] = (
                self._registry.histogram(SERVER_REQUESTS_SECONDS, {**server, **about}, REQUEST_BOUNDS),
                self._registry.histogram(CLIENT_REQUESTS_SECONDS, {**labels, **about}, REQUEST_BOUNDS),
            )
        return pair


class RestApp:
    """Takes requests only while a model is loaded; says so on its health paths."""

    def __init__(
        self,
        state: State,
        model: Model,
        scheduler: Scheduler,
        metadata: dict[str, Any] | None,
        times: RequestTimes,
        max_body: int,
        passthrough: bool = False,
        records: Records | None = None,
    ) -> None:
        self._state = state
        self._model = model
        self._scheduler = scheduler
        self._metadata = metadata
        self._times = times
        self._max_body = max_body
        self._passthrough = passthrough
        self._records = records
        self._custom_errors = ErrorHandler.of(model.user)
        predictions = (("POST",), self._predictions, "predictions")
        feedback = (("POST",), self._feedback, "feedback")
        self._routes: dict[str, tuple[tuple[str, ...], Handler, str | None]] = {
            "/api/v1.0/predictions": predictions,
            "/api/v0.1/predictions": predictions,
            "/predict": (("GET", "POST"), self._predictions, "predictions"),
            "/api/v1.0/feedback": feedback,
            "/api/v0.1/feedback": feedback,
            "/send-feedback": (("GET", "POST"), self._feedback, "feedback"),
            "/transform-input": (("GET", "POST"), self._verb(TRANSFORM_INPUT), "transform-input"),
            "/transform-output": (("GET", "POST"), self._verb(TRANSFORM_OUTPUT), "transform-output"),
            "/route": (("GET", "POST"), self._verb(ROUTE), "route"),
            "/aggregate": (("GET", "POST"), self._aggregate, "aggregate"),
            "/health/ping": (("GET",), self._ping, None),
            "/live": (("GET",), self._ping, None),
            **dict.fromkeys(HEALTH_PATHS, (("GET",), self._health, None)),
            "/metadata": (("GET",), self._get_metadata, None),
            "/api/v1.0/metadata": (("GET",), self._get_metadata, None),
            "/seldon.json": (("GET",), self._openapi, None),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path in ("/health/ping", "/live") and scope["method"] in ("GET", "HEAD"):
            await respond(send, 200, b"pong", _TEXT)
            return
        started = time.perf_counter()
        route = self._routes.get(path)
        service = None
        headers = _JSON
        try:
            if route is None:
                raise SeldonMicroserviceException(f"No such path: {path}", 404, reason="MICROSERVICE_NOT_FOUND")
            methods, handler, service = route
            if scope["method"] not in methods:
                if scope["method"] == "OPTIONS":
                    await respond(send, 200, b"", _preflight(methods))
                    return
                if scope["method"] != "HEAD" or "GET" not in methods:
                    raise SeldonMicroserviceException(
                        f"{path} takes {' and '.join(methods)}", 405, reason="MICROSERVICE_BAD_METHOD"
                    )
            body = await read_body(receive, self._max_body)
            request = Request(scope, body)
            status, answer = await handler(request)
            if request.id is not None:
                headers = [*_JSON, *header_of(request.id)]
        except Exception as error:
            status, answer = self._error(error, scope)
        await respond(send, status, answer, headers)
        if service is not None:
            self._times.observe(service, scope["method"].lower(), str(status), time.perf_counter() - started)

    def _error(self, error: Exception, scope: Scope) -> tuple[int, bytes]:
        if self._custom_errors is not None and (handled := self._custom_errors.answer(error, scope)):
            return handled
        status = status_of(error)
        log.log(
            logging.ERROR if status >= 500 else logging.INFO,
            "%s %s: %d %s",
            scope["method"],
            scope["path"],
            status,
            getattr(error, "message", None) or error,
            exc_info=error if status == 500 and not isinstance(error, SeldonMicroserviceException) else None,
        )
        return status, wire.encode(error_body(error))

    async def _predictions(self, request: Request) -> tuple[int, bytes]:
        self._state.require_ready()
        if self._passthrough:
            call = self._model.open(PREDICT, request.body)
            answer = await self._scheduler.predict(call)
            self._record(request, call, answer)
            return 200, answer.encode() if isinstance(answer, str) else bytes(answer)
        call = self._model.open(PREDICT, request.decode())
        answer = await self._scheduler.predict(call)
        status = 200
        if isinstance(answer, dict) and isinstance(given := answer.get("status"), dict):
            status = int(given.get("code", 200))
        if status < 400:
            self._record(request, call, answer)
        return status, wire.encode(answer)

    def _record(self, request: Request, call: Call, answer: Any) -> None:
        if self._records is not None:
            request.id = self._records.id_of(call.request, request.puid)
            self._records.predicted(request.id, call, answer)

    def _verb(self, verb: Verb) -> Handler:
        async def handle(request: Request) -> tuple[int, bytes]:
            self._state.require_ready()
            return 200, wire.encode(await self._scheduler.predict(self._model.open(verb, request.decode())))

        return handle

    async def _aggregate(self, request: Request) -> tuple[int, bytes]:
        self._state.require_ready()
        decoded = request.decode()
        return 200, wire.encode(await self._scheduler.run(lambda: self._model.aggregate(decoded)))

    async def _feedback(self, request: Request) -> tuple[int, bytes]:
        self._state.require_ready()
        feedback = proto_of_json(request.decode(), messages.Feedback)
        answer = await self._scheduler.run(lambda: self._model.send_feedback(feedback))
        if self._records is not None:
            self._records.labelled(feedback, request.puid)
        return 200, wire.encode(answer if isinstance(answer, dict) else json_of_proto(answer))

    async def _ping(self, _request: Request) -> tuple[int, bytes]:
        return 200, b"pong"

    async def _health(self, _request: Request) -> tuple[int, bytes]:
        self._state.require_healthy()
        if self._model.health_is_static:
            answer = self._model.health_status()
        else:
            answer = await self._scheduler.run(self._model.health_status, ahead=True)
        return 200, wire.encode(answer if isinstance(answer, dict | list | str) else json_of_proto(answer))

    async def _get_metadata(self, _request: Request) -> tuple[int, bytes]:
        if self._metadata is None:
            raise SeldonMicroserviceException("Model metadata unavailable", 500, reason="MICROSERVICE_BAD_METADATA")
        return 200, wire.encode(self._metadata)

    async def _openapi(self, _request: Request) -> tuple[int, bytes]:
        return 200, wire.encode(description(self._routes))


class LoadingApp:
    """Answers in the model's place until it is loaded: alive, not ready, and why.

    Who asks whether it is healthy is kept waiting for a while, and hears at once when it is: orchestrators ask only
    every few seconds.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["path"] in ("/health/ping", "/live"):
            await respond(send, 200, b"pong", _TEXT)
            return
        if scope["path"] in HEALTH_PATHS:
            await self._state.wait(HOLD_SECONDS)
        try:
            self._state.require_ready()
        except SeldonMicroserviceException as error:
            status, body = 503, wire.encode(error.to_dict())
        else:
            status, body = 200, b"{}"
        await respond(send, status, body, [*_JSON, (b"connection", b"close")])


async def read_body(receive: Receive, limit: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > limit:
            break
    if len(body) > limit:
        raise SeldonMicroserviceException(
            f"The request has more than {limit} bytes", 413, reason="MICROSERVICE_TOO_LARGE"
        )
    return body


async def respond(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def _preflight(methods: tuple[str, ...]) -> list[tuple[bytes, bytes]]:
    return [
        *_TEXT,
        (b"access-control-allow-methods", ", ".join([*methods, "HEAD", "OPTIONS"]).encode()),
        (b"access-control-allow-headers", b"content-type, authorization"),
    ]
