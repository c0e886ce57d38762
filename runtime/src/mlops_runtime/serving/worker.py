# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""One worker: REST and gRPC for the model on one event loop, in one process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import grpc.aio  # here, so that it is imported before the workers are forked and shared by them
import uvicorn
import uvloop

from mlops_runtime.serving.channel import serve_snapshots
from mlops_runtime.serving.metadata import model_metadata
from mlops_runtime.serving.metrics import Registry
from mlops_runtime.serving.model import Model, Options
from mlops_runtime.serving.records import FLUSH_SECONDS, POLL_SECONDS, Records
from mlops_runtime.serving.rest import LoadingApp, RequestTimes, RestApp
from mlops_runtime.serving.rpc import RpcServices, rpc_server
from mlops_runtime.serving.scheduler import Limits, Scheduler, ThreadMode
from mlops_runtime.serving.settings import Settings
from mlops_runtime.serving.state import State

log = logging.getLogger(__name__)

_RECORDS_KILOBYTES = 64 * 1024  # that records may hold while the broker is away, in all workers together

QUIET_SECONDS = 1.0
"""Who was asked nothing for so long after it was told to stop isn't known to the gateway any more."""


class HttpServer(uvicorn.Server):
    """Leaves the signals to its worker."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def install_signal_handlers(self) -> None:  # uvicorn before 0.29
        pass


def http_server(app: Any, settings: Settings) -> HttpServer:
    config = uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=settings.access_log,
        server_header=False,
        timeout_keep_alive=settings.keepalive,
        timeout_graceful_shutdown=max(1, int(settings.grace_seconds)),
        backlog=2048,
    )
    return HttpServer(config)


def listen(port: int) -> socket.socket:
    """A socket that shares its port with those of the other workers; the kernel spreads connections over them."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("0.0.0.0", port))  # noqa: S104 the container's address
    listener.setblocking(False)
    return listener


class Worker:
    """Serves until told to stop; then tells the gateway first, finishes what has begun, and ends."""

    def __init__(self, user: Any, settings: Settings, registry: Registry, options: Options) -> None:
        self._user = user
        self._settings = settings
        self._registry = registry
        self._options = options
        self._state = State()
        self._stop: asyncio.Event | None = None

    def run(self, channel: socket.socket, load: bool) -> None:
        """Load the model if that is still to be done, serve, and return after a graceful stop."""
        if load:
            load_model(self._user)
        options = self._options
        if self._settings.records:
            options = dataclasses.replace(options, capture=Records.capture)
        model = Model(self._user, self._registry, options)
        metadata = model_metadata(self._user)
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._serve(channel, model, metadata))
        finally:
            loop.close()

    async def _serve(self, channel: socket.socket, model: Model, metadata: dict[str, Any] | None) -> None:
        settings, loop = self._settings, asyncio.get_running_loop()
        stop = self._stop = asyncio.Event()
        told = asyncio.Event()

        def tell() -> None:
            told.set()
            stop.set()

        loop.add_signal_handler(signal.SIGTERM, tell)
        scheduler = Scheduler(
            model,
            Limits(
                waiting=settings.queue,
                seconds=settings.queue_seconds,
                rows=settings.batch_rows,
                wait_seconds=settings.batch_wait_seconds,
                threads=settings.threads,
                thread=cast(ThreadMode, settings.thread),
            ),
        )
        times = RequestTimes(self._registry)
        records = open_records(settings, self._registry)
        polling = asyncio.create_task(_poll(records)) if records else None
        rest: Any = RestApp(
            self._state, model, scheduler, metadata, times, settings.max_body, settings.passthrough, records
        )
        if settings.max_requests:
            rest = _counted(rest, settings, self._stop.set)
        messages = serve_snapshots(loop, channel, self._registry, on_end=self._stop.set)
        await messages.loaded()
        http = http_server(rest, settings)
        serving = asyncio.create_task(http.serve(sockets=[listen(settings.http_port)]))
        self._state.ready()
        rpc = None
        if settings.grpc:
            services = RpcServices(self._state, model, scheduler, metadata, times, records)
            rpc, _ = rpc_server(services, settings.grpc_port, settings.max_body)
            await rpc.start()
        await _started(http, serving)
        messages.ready()
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait([stopping, serving], return_when=asyncio.FIRST_COMPLETED)
        await self._drain(http, rpc, serving, times if told.is_set() else None)
        scheduler.close()
        if records is not None and polling is not None:
            polling.cancel()
            records.close(min(FLUSH_SECONDS, settings.grace_seconds))
        messages.end()

    async def _drain(
        self,
        http: HttpServer,
        rpc: grpc.aio.Server | None,
        serving: asyncio.Task[None],
        times: RequestTimes | None,
    ) -> None:
        """`times`: of the requests, where the whole server stops and not this worker alone."""
        settings = self._settings
        self._state.drain()
        if not serving.done():
            # The gateway looks every few seconds: until it has seen, requests still come and are answered.
            await asyncio.sleep(settings.drain_seconds)
        if times is not None and settings.drain_seconds:
            # Who tells the gateway may be away: what is still asked goes on answering, within bounds.
            end = time.monotonic() + settings.grace_seconds / 2
            while time.monotonic() < min(end, times.latest + QUIET_SECONDS):
                await asyncio.sleep(0.1)
        http.should_exit = True
        if rpc is not None:
            await rpc.stop(settings.grace_seconds)
        await serving


async def _started(http: HttpServer, serving: asyncio.Task[None]) -> None:
    while not http.started and not serving.done():
        await asyncio.sleep(0.005)


def open_records(settings: Settings, registry: Registry) -> Records | None:
    """This worker's way to the broker, with its share of the queue; None where predictions leave no record."""
    if not settings.records:
        return None
    from mlops_runtime.serving.stream import Stream  # only here, so that a server without records needs no client

    waiting = max(1, settings.records_queue // settings.workers)
    kilobytes = max(1024, _RECORDS_KILOBYTES // settings.workers)
    return Records(
        settings.records, settings.records_sample, lambda: Stream(settings.broker, waiting, kilobytes), registry
    )


async def _poll(records: Records) -> None:
    while True:
        await asyncio.sleep(POLL_SECONDS)
        records.poll()


def load_model(user: Any) -> None:
    """The class's load(). Unlike Seldon's wrapper, an AttributeError in it is a failure: nothing is loaded then."""
    if not hasattr(user, "load"):
        return
    try:
        user.load()
    except NotImplementedError:
        log.debug("No load method in user model")


def _counted(app: Any, settings: Settings, stop: Callable[[], None]) -> Any:
    """The app, ending its worker after so many requests; another takes its place."""
    left = settings.max_requests + random.randint(0, settings.max_requests_jitter)  # noqa: S311

    async def call(scope: Any, receive: Any, send: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            stop()
        await app(scope, receive, send)

    return call


def run_placeholder(settings: Settings, channel: socket.socket) -> None:
    """Answer on the HTTP port that the model is loading, until told to leave it to the workers.

    Who waits for health then is answered when a worker serves.
    """

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        leave, end = asyncio.Event(), asyncio.Event()
        state = State()

        def stop() -> None:
            state.give_up()
            leave.set()
            end.set()

        def served(_: object) -> None:
            state.ready()
            end.set()

        loop.add_signal_handler(signal.SIGTERM, stop)
        http = http_server(LoadingApp(state), settings)
        serving = asyncio.create_task(http.serve(sockets=[listen(settings.http_port)]))
        on = {"reason": state.because, "leave": lambda _: leave.set(), "served": served}
        messages = serve_snapshots(loop, channel, None, on_end=stop, on=on)
        await _started(http, serving)
        await leave.wait()
        for server in http.servers:
            server.close()
        messages.left()
        await end.wait()
        http.should_exit = True
        await serving
        messages.end()

    # Not uvloop: there a socket that is closed goes on taking connections for a while.
    asyncio.run(serve())
