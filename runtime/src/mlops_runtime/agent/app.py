# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The agent's HTTP interface."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from _workload import Observed, Workload, WorkloadError, parse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import metrics, policy
from .clients import Client, Clients
from .observer import Observer
from .sets import Applies, Sets, Status, Wanted
from .settings import Settings
from .state import State
from .targets import target_groups

BODY_LIMIT = 4 * 2**20
_SET_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
Endpoint = Callable[[Request], Awaitable[Response]]


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, code: int, error: str, problems: Sequence[str] = ()) -> None:
        self.code = code
        self.document = {"error": error, **({"problems": list(problems)} if problems else {})}
        super().__init__(error)


class Agent:
    """The endpoints, and what they share."""

    def __init__(
        self,
        settings: Settings,
        clients: Clients,
        connect: Callable[[], Applies],
        observe: Callable[[], Sequence[Observed]],
        events: Callable[[], Iterator[object]],
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._observe = observe
        self._events = events
        self._observer: Observer | None = None
        self.state = State(settings)
        self.sets = Sets(connect, done=self._hurry)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                _route("/v1/traefik", "traefik", self.traefik, ["GET"]),
                _route("/v1/prometheus", "prometheus", self.prometheus, ["GET"]),
                _route("/v1/workloads", "workloads", self.workloads, ["GET"]),
                _route("/v1/sets/{set}", "sets", self.set, ["GET", "PUT", "DELETE"]),
                _route("/healthz", "healthz", self.healthz, ["GET"]),
                _route("/readyz", "readyz", self.readyz, ["GET"]),
                Route("/metrics", self.metrics, methods=["GET"]),
            ],
            lifespan=self.lifespan,
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        self._observer = Observer(self._observe, self._events, _InLoop(self.state, loop), self._settings.resync_seconds)
        follower = asyncio.create_task(self.state.follow())
        self._observer.start()
        try:
            yield
        finally:
            self._observer.stop()
            self.sets.stop()
            follower.cancel()

    async def traefik(self, request: Request) -> Response:
        """The gateway's configuration. Never an empty one before the cluster was seen: it would take all routes."""
        state = self.state
        if state.body is None:
            raise Refused(503, "the cluster hasn't been seen yet" + (f": {state.error}" if state.error else ""))
        if request.headers.get("if-none-match") == state.etag:
            return Response(status_code=304, headers={"etag": state.etag})
        return Response(state.body, media_type="application/json", headers={"etag": state.etag})

    async def prometheus(self, request: Request) -> Response:
        """What Prometheus scrapes, of the set that the query names or of all but that one: `set`, `except`.

        It keeps what it knows while this fails, so nothing is told before the cluster was seen.
        """
        if self.state.observed is None:
            raise Refused(503, "the cluster hasn't been seen yet")
        wanted, left_out = request.query_params.get("set"), request.query_params.get("except")
        return JSONResponse(
            target_groups(
                item for item in self.state.observed if wanted in (None, item.set_name) and item.set_name != left_out
            )
        )

    async def workloads(self, request: Request) -> Response:
        """What runs where, and whether it is healthy."""
        self._client(request)
        if self.state.observed is None:
            raise Refused(503, "the cluster hasn't been seen yet")
        return JSONResponse(
            {
                "namespace": self._settings.namespace,
                "age_seconds": round(self.state.age or 0.0, 3),
                "workloads": [item.to_dict() for item in self.state.observed],
            }
        )

    async def set(self, request: Request) -> Response:
        """A client's set: GET tells how far it is, PUT replaces it, DELETE removes it."""
        client, name = self._client(request), request.path_params["set"]
        if name not in client.sets or not _SET_NAME.fullmatch(name):
            raise Refused(403, f"the set {name} is not {client.name}'s")
        if request.method == "GET":
            return self._status(name)
        remove = request.method == "DELETE"
        wanted = Wanted(remove=True) if remove else self._wanted(client, name, await _body(request))
        status = self.sets.want(name, wanted)
        self._hurry()
        return JSONResponse(_shown(status), 202, headers={"location": f"/v1/sets/{name}"})

    async def healthz(self, _: Request) -> Response:
        """This process is alive, and how fresh its knowledge is. Restarting it would bring no engine back."""
        state = self.state
        status = "starting" if state.body is None else "stale" if state.error else "ok"
        age = None if state.age is None else round(state.age, 3)
        return JSONResponse({"status": status, "age_seconds": age, "error": state.error})

    async def readyz(self, _: Request) -> Response:
        if self.state.body is None:
            raise Refused(
                503, "the cluster hasn't been seen yet" + (f": {self.state.error}" if self.state.error else "")
            )
        return JSONResponse({"status": "ok"})

    async def metrics(self, _: Request) -> Response:
        return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})

    def _client(self, request: Request) -> Client:
        client = self._clients.authenticate(request.headers.get("authorization"))
        if client is None:
            raise Refused(401, "a client's token is needed: Authorization: Bearer ...")
        return client

    def _wanted(self, client: Client, name: str, document: Any) -> Wanted:
        if not isinstance(document, dict) or set(document) - {"workloads", "images"}:
            raise Refused(422, "the body must be an object of workloads and images")
        images = document.get("images", {})
        if not isinstance(images, dict) or not all(isinstance(value, str) for value in images.values()):
            raise Refused(422, "images must be an object of names and references")
        try:
            workloads = parse(document.get("workloads"))
        except WorkloadError as error:
            raise Refused(422, error.message, error.problems) from None
        if self.state.observed is None:
            raise Refused(503, "the cluster hasn't been seen yet: whose names are taken isn't known")
        others = [item for item in self.state.observed if item.set_name != name]
        problems = policy.problems(
            client,
            workloads,
            images,
            registry=self._settings.registry,
            others={item.name: item.set_name for item in others},
            routes={
                (route.host, route.path): service.workload
                for service in self.state.routed()
                if service.workload in {item.name for item in others}
                for route in service.routes
                if not route.headers
            },
            domain=self._settings.domain,
        )
        values, missing = _secret_values(workloads, self._settings.secrets_dir)
        problems += [f"secrets: {secret} isn't there" for secret in missing if secret in client.secrets]
        if problems:
            raise Refused(422, "the set is refused", problems)
        return Wanted(tuple(workloads), images, values)

    def _status(self, name: str) -> Response:
        """The newest request's state; what has happened since is judged by what is observed."""
        observed = [item for item in self.state.observed or () if item.set_name == name]
        status = self.sets.status(name)
        if status is None and not observed:
            raise Refused(404, f"there is no set {name}")
        shown: dict[str, Any] = {"set": name, "state": "healthy", "reasons": []} if status is None else _shown(status)
        ailing = [_ailing(item) for item in observed if not item.healthy]
        if shown["state"] == "healthy" and ailing:
            shown |= {"state": "converging", "reasons": ailing}
        shown["observed"] = [item.to_dict() for item in observed]
        return JSONResponse(shown)

    def _hurry(self) -> None:
        if self._observer is not None:
            self._observer.hurry()


class _InLoop:
    """Carries what the observer's thread tells into the event loop."""

    def __init__(self, state: State, loop: asyncio.AbstractEventLoop) -> None:
        self._state = state
        self._loop = loop

    def see(self, observed: Sequence[Observed]) -> None:
        self._call(self._state.see, observed)

    def fail(self, error: str) -> None:
        self._call(self._state.fail, error)

    def _call(self, function: Callable[..., None], argument: Any) -> None:
        with contextlib.suppress(RuntimeError):  # The loop has ended: so does the agent.
            self._loop.call_soon_threadsafe(function, argument)


def _route(path: str, name: str, endpoint: Endpoint, methods: list[str]) -> Route:
    async def answer(request: Request) -> Response:
        begun = time.perf_counter()
        try:
            response = await endpoint(request)
        except Refused as refused:
            response = JSONResponse(refused.document, refused.code)
            if refused.code == 401:
                response.headers["www-authenticate"] = "Bearer"
        metrics.REQUESTS.labels(name, str(response.status_code)).inc()
        metrics.REQUEST_SECONDS.labels(name).observe(time.perf_counter() - begun)
        return response

    return Route(path, answer, methods=methods)


async def _body(request: Request) -> Any:
    received = bytearray()
    try:
        async for chunk in request.stream():
            received += chunk
            if len(received) > BODY_LIMIT:
                raise Refused(413, f"the body has more than {BODY_LIMIT} bytes")
    except ClientDisconnect:
        raise Refused(400, "the body broke off") from None
    try:
        return json.loads(received)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None


def _secret_values(workloads: Sequence[Workload], folder: Path | None) -> tuple[dict[str, str], list[str]]:
    """The values of the secrets that the workloads name, and the names of those that aren't there."""
    names = {secret.name for workload in workloads for item in (workload, *workload.jobs) for secret in item.secrets}
    values: dict[str, str] = {}
    for name in names:
        if folder is not None and "/" not in name and (folder / name).is_file():
            values[name] = (folder / name).read_text()
    return values, sorted(names - set(values))


def _shown(status: Status) -> dict[str, Any]:
    return dataclasses.asdict(status)


def _ailing(item: Observed) -> str:
    healthy = sum(task.healthy for task in item.tasks)
    errors = sorted({task.error for task in item.tasks if task.error})
    return f"{item.name}: {item.status}, {healthy} of {item.replicas} healthy" + "".join(
        f"; {error}" for error in errors
    )
