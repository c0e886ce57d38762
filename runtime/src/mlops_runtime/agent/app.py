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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from _workload import Observed, Workload, WorkloadError, parse
from _workload.base import STAMP
from _workload.rendering import HINT_LENGTH
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import metrics, policy
from .clients import Client, Clients
from .observer import Observer
from .runs import HasRuns, Runs, TooMany, set_of
from .sets import Applies, Sets, Status, Wanted
from .settings import Settings
from .state import State
from .targets import target_groups

BODY_LIMIT = 4 * 2**20
LOG_LINES = 2000
_SET_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
Endpoint = Callable[[Request], Awaitable[Response]]


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, code: int, error: str, problems: Sequence[str] = ()) -> None:
        self.code = code
        self.document = {"error": error, **({"problems": list(problems)} if problems else {})}
        super().__init__(error)


class Cluster(Applies, HasRuns, Protocol):
    """The verbs of the seam that clients' requests need."""


class Agent:
    """The endpoints, and what they share."""

    def __init__(
        self,
        settings: Settings,
        clients: Clients,
        connect: Callable[[], Cluster],
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
        self.runs = Runs(connect, settings.runs, settings.runs_keep_seconds)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                _route("/v1/traefik", "traefik", self.traefik, ["GET"]),
                _route("/v1/prometheus", "prometheus", self.prometheus, ["GET"]),
                _route("/v1/workloads", "workloads", self.workloads, ["GET"]),
                _route("/v1/sets/{set}", "sets", self.set, ["GET", "PUT", "DELETE"]),
                _route("/v1/runs", "runs", self.list_runs, ["GET"]),
                _route("/v1/runs/{run}", "run", self.run, ["GET", "PUT", "DELETE"]),
                _route("/v1/runs/{run}/logs", "run_logs", self.run_logs, ["GET"]),
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
        collector = asyncio.create_task(self.runs.collect(self._clients.runners))
        self._observer.start()
        try:
            yield
        finally:
            self._observer.stop()
            self.sets.stop()
            self.runs.stop()
            follower.cancel()
            collector.cancel()

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

    async def list_runs(self, request: Request) -> Response:
        """A client's runs that it hasn't removed."""
        client = self._runner(request)
        with _told():
            runs = await self.runs.all(client.name)
        return JSONResponse({"runs": [run.to_dict() for run in runs]})

    async def run(self, request: Request) -> Response:
        """A run: PUT starts it, unless it is there; GET tells how it is; DELETE removes it, even while it goes on."""
        client, name = self._runner(request), request.path_params["run"]
        if request.method == "PUT":
            return await self._start(client, name, await _body(request))
        with _told():
            if request.method == "DELETE":
                if await self.runs.remove(client.name, name):
                    return Response(status_code=204)
            elif found := await self.runs.find(client.name, name):
                return JSONResponse(found.to_dict())
        raise Refused(404, f"there is no run {name}")

    async def run_logs(self, request: Request) -> Response:
        """What a run has printed: the first lines behind the position `since`, or its last ones."""
        client, name = self._runner(request), request.path_params["run"]
        since, lines = request.query_params.get("since", ""), request.query_params.get("lines", "200")
        if (since and not STAMP.fullmatch(since)) or not lines.isdecimal() or not 1 <= int(lines) <= LOG_LINES:
            raise Refused(422, f"since is a position of an earlier answer, lines a number from 1 to {LOG_LINES}")
        with _told():
            if await self.runs.find(client.name, name) is None:
                raise Refused(404, f"there is no run {name}")
            found = await self.runs.log(client.name, name, since, int(lines))
        position = found[-1].position if found else since
        lent = _lent(client.secrets, self._settings.secrets_dir).values()
        return JSONResponse({"lines": [_masked(line.text, lent) for line in found], "position": position})

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

    async def _start(self, client: Client, name: str, document: Any) -> Response:
        if not isinstance(document, dict) or set(document) - {"workload", "images"}:
            raise Refused(422, "the body must be an object of workload and images")
        workloads, images = _declared([document.get("workload")], document.get("images", {}))
        values = self._values(
            client, set_of(client.name), workloads, images, policy.run_problems(name, workloads[0]), "run"
        )
        with _told():
            try:
                run, new = await self.runs.start(client.name, workloads[0], images, values)
            except TooMany as error:
                raise Refused(429, str(error)) from None
        self._hurry()
        return JSONResponse(run.to_dict(), 201 if new else 200, headers={"location": f"/v1/runs/{name}"})

    def _runner(self, request: Request) -> Client:
        client = self._client(request)
        if not client.runs:
            raise Refused(403, f"{client.name} may start no runs")
        return client

    def _client(self, request: Request) -> Client:
        client = self._clients.authenticate(request.headers.get("authorization"))
        if client is None:
            raise Refused(401, "a client's token is needed: Authorization: Bearer ...")
        return client

    def _wanted(self, client: Client, name: str, document: Any) -> Wanted:
        if not isinstance(document, dict) or set(document) - {"workloads", "images"}:
            raise Refused(422, "the body must be an object of workloads and images")
        workloads, images = _declared(document.get("workloads"), document.get("images", {}))
        return Wanted(tuple(workloads), images, self._values(client, name, workloads, images))

    def _values(
        self,
        client: Client,
        set_name: str,
        workloads: Sequence[Workload],
        images: Mapping[str, str],
        problems: Sequence[str] = (),
        what: str = "set",
    ) -> dict[str, str]:
        """The values of the secrets of what the client may have; refuses what it may not, and what has problems."""
        if self.state.observed is None:
            raise Refused(503, "the cluster hasn't been seen yet: whose names are taken isn't known")
        others = [item for item in self.state.observed if item.set_name != set_name]
        found = [
            *problems,
            *policy.problems(
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
            ),
        ]
        values, missing = _secret_values(workloads, self._settings.secrets_dir)
        found += [f"secrets: {secret} isn't there" for secret in missing if secret in client.secrets]
        if found:
            raise Refused(422, f"the {what} is refused", found)
        return values

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


def _declared(workloads: Any, images: Any) -> tuple[list[Workload], dict[str, str]]:
    if not isinstance(images, dict) or not all(isinstance(value, str) for value in images.values()):
        raise Refused(422, "images must be an object of names and references")
    try:
        return parse(workloads), images
    except WorkloadError as error:
        raise Refused(422, error.message, error.problems) from None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What the cluster refuses is the client's to put right; where it can't be reached, another try may do."""
    try:
        yield
    except WorkloadError as error:
        status = getattr(error, "status", 422)
        raise Refused(422 if 400 <= status < 500 else 503, error.message, error.problems) from None


def _secret_values(workloads: Sequence[Workload], folder: Path | None) -> tuple[dict[str, str], list[str]]:
    """The values of the secrets that the workloads name, and the names of those that aren't there."""
    names = {secret.name for workload in workloads for item in (workload, *workload.jobs) for secret in item.secrets}
    values = _lent(names, folder)
    return values, sorted(names - set(values))


def _lent(names: Iterable[str], folder: Path | None) -> dict[str, str]:
    """The values of those that are there."""
    if folder is None:
        return {}
    return {name: (folder / name).read_text() for name in names if "/" not in name and (folder / name).is_file()}


def _masked(text: str, values: Iterable[str]) -> str:
    for value in values:
        if len(value) >= HINT_LENGTH:
            text = text.replace(value, "********")
    return text


def _shown(status: Status) -> dict[str, Any]:
    return dataclasses.asdict(status)


def _ailing(item: Observed) -> str:
    healthy = sum(task.healthy for task in item.tasks)
    errors = sorted({task.error for task in item.tasks if task.error})
    return f"{item.name}: {item.status}, {healthy} of {item.replicas} healthy" + "".join(
        f"; {error}" for error in errors
    )
