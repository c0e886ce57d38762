# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The container's first process: fetches and loads the model, forks the workers, replaces the dead, answers Prometheus.

A plain loop over select: a process that forks is better off without an event loop or threads of its own.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

from mlops_runtime.contracts import environment
from mlops_runtime.serving import channel, fetch
from mlops_runtime.serving.metrics import CONTENT_TYPE, Registry, Snapshot, merge, model_labels, render
from mlops_runtime.serving.model import Options
from mlops_runtime.serving.settings import Settings
from mlops_runtime.serving.worker import Worker, listen, load_model, run_placeholder

log = logging.getLogger(__name__)

_SCRAPE_SECONDS = 2.0
_RESTARTS, _RESTART_SECONDS = 5, 60.0


class Stopped(SystemExit):
    """SIGTERM or SIGINT while the model is loading."""


@dataclass
class Child:
    pid: int
    line: socket.socket
    role: str  # worker, placeholder, custom
    loaded: bool = False
    serving: bool = False
    ready: bool = False
    left: bool = False
    told: set[str] = field(default_factory=set)
    latest: Snapshot | None = None
    asked: bool = False
    inbox: channel.Inbox = field(default_factory=channel.Inbox)


class Supervisor:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._children: dict[int, Child] = {}
        self._retired: Snapshot = {"counters": [], "gauges": [], "histograms": []}
        self._restarts: list[float] = []
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = os.pipe()
        self._listeners: list[socket.socket] = []
        self._stopping = False
        self._serving = False
        self._registry = Registry(model_labels())
        self._user: Any = None
        self._load_in_worker = True

    def run(self) -> int:
        """Serve until SIGTERM. Returns the process's exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        placeholder = self._fork("placeholder", lambda line: run_placeholder(self._settings, line))
        try:
            self._prepare(placeholder)
        except Stopped:
            self._stop_children()
            return 0
        except Exception as error:
            log.error("The model can't be served: %s", error, exc_info=not isinstance(error, fetch.FetchError))
            self._stop_children()
            return 1
        self._serving = True
        try:
            for _ in range(self._settings.workers):
                self._start_worker()
            if callable(custom := getattr(self._user, "custom_service", None)):
                self._fork("custom", lambda _line: custom())
            return self._loop()
        finally:
            self._stop_children()

    def _prepare(self, placeholder: Child) -> None:
        def because(reason: str) -> None:
            channel.send(placeholder.line, {"reason": reason})

        if fetch.is_wanted() and not os.environ.get(environment.MODEL_DIRECTORY):
            os.environ[environment.MODEL_DIRECTORY] = str(fetch.fetch_model(os.environ, because))
        because("the model is loading")
        user_class = import_class(self._settings.interface)
        self._user = user_class(**self._settings.parameters)
        if getattr(self._user, "load_before_fork", False):
            load_model(self._user)
            self._load_in_worker = False
        if self._settings.records:
            importlib.import_module("mlops_runtime.serving.stream")
        # What is here now is shared by the workers for as long as nobody writes to it: neither must the collector.
        gc.collect()
        gc.freeze()

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        first, self._stopping = not self._stopping, True
        if first and not self._serving:
            raise Stopped(0)

    # Processes

    def _fork(self, role: str, target: Callable[[socket.socket], None]) -> Child:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal to a child that still has the supervisor's handlers would be lost: it waits for the child's own.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        pid = os.fork()
        if pid == 0:
            self._become_child(ours, theirs, role, target)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        theirs.close()
        child = self._children[pid] = Child(pid, ours, role)
        self._selector.register(ours, selectors.EVENT_READ, child)
        return child

    def _become_child(
        self, ours: socket.socket, line: socket.socket, role: str, target: Callable[[socket.socket], None]
    ) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the supervisor passes it on
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
            self._selector.close()
            for opened in (ours, *self._listeners, *(child.line for child in self._children.values())):
                opened.close()
            os.close(self._wake_in)
            os.close(self._wake_out)
            target(line)
            code = 0
        except BaseException:
            log.exception("The %s process failed", role)
        finally:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _start_worker(self) -> None:
        options = Options(
            unit=os.environ.get(environment.UNIT_ID),
            image=os.environ.get(environment.UNIT_IMAGE, Options.image),
            include_metrics=self._settings.include_metrics,
        )
        worker = Worker(self._user, self._settings, self._registry, options)
        self._fork("worker", lambda line: worker.run(line, self._load_in_worker))

    def _reap(self) -> int | None:
        """Collect ended processes; the exit code if the server can't go on without them."""
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == 0:
                return None
            child = self._children.get(pid)
            if child is None:
                continue
            self._read(child)
            self._forget(child)
            if child.role == "placeholder" and not self._stopping:
                self._let_serve()
            if self._stopping or child.role != "worker":
                continue
            code = os.waitstatus_to_exitcode(status)
            if not child.ready:
                log.error("A worker ended with %d before it could serve", code)
                return 1
            now = time.monotonic()
            self._restarts = [when for when in self._restarts if now - when < _RESTART_SECONDS]
            if code != 0:
                self._restarts.append(now)
                log.error("Worker %d ended with %d; another takes its place", pid, code)
            if len(self._restarts) >= _RESTARTS:
                log.error("%d workers ended within %.0f s", len(self._restarts), _RESTART_SECONDS)
                return 1
            self._start_worker()
        return None

    def _forget(self, child: Child) -> None:
        del self._children[child.pid]
        self._selector.unregister(child.line)
        child.line.close()
        if child.latest is not None:
            self._retired = merge([self._retired, child.latest])

    def _stop_children(self) -> None:
        self._stopping = True
        for child in list(self._children.values()):
            _kill(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + self._settings.drain_seconds + self._settings.grace_seconds + 5
        while self._children and time.monotonic() < deadline:
            self._selector.select(0.2)
            self._drain_wakeups()
            for child in list(self._children.values()):
                self._read(child)
            self._reap()
        for child in list(self._children.values()):
            log.warning("Process %d didn't end in time", child.pid)
            _kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)

    # The loop

    def _loop(self) -> int:
        listener = listen(self._settings.metrics_port)
        listener.listen(16)
        self._listeners.append(listener)
        self._selector.register(listener, selectors.EVENT_READ, None)
        self._selector.register(self._wake_in, selectors.EVENT_READ, None)
        while not self._stopping:
            for key, _ in self._selector.select(1.0):
                if key.fileobj is listener:
                    self._answer_scrape(listener)
                elif isinstance(key.data, Child) and key.data.pid in self._children:
                    self._read(key.data)
                else:
                    self._drain_wakeups()
            code = self._reap()
            if code is not None:
                return code
        log.info("Stopping")
        return 0

    def _drain_wakeups(self) -> None:
        try:
            while os.read(self._wake_in, 4096):
                pass
        except BlockingIOError:
            pass

    def _read(self, child: Child) -> None:
        while True:
            try:
                data = child.line.recv(1 << 20, socket.MSG_DONTWAIT)
            except OSError:
                return
            if not data:
                return
            for message in child.inbox.feed(data):
                if "loaded" in message:
                    child.loaded = True
                    self._let_serve()
                elif "left" in message:
                    child.left = True
                    self._let_serve()
                elif "ready" in message:
                    child.ready = True
                    self._tell_placeholders("served")
                    ready = sum(child.ready for child in self._children.values())
                    log.info(
                        "%d of %d workers serve on port %d", ready, self._settings.workers, self._settings.http_port
                    )
                elif "snapshot" in message:
                    child.latest, child.asked = message["snapshot"], False

    def _let_serve(self) -> None:
        """The placeholder leaves the port before the first worker comes: nobody hears first ready, then loading."""
        self._tell_placeholders("leave")
        if any(child.role == "placeholder" and not child.left for child in self._children.values()):
            return
        for child in self._children.values():
            if child.loaded and not child.serving:
                child.serving = True
                _tell(child, "serve")

    def _tell_placeholders(self, what: str) -> None:
        for child in self._children.values():
            if child.role == "placeholder" and what not in child.told:
                child.told.add(what)
                _tell(child, what)

    # Prometheus

    def _answer_scrape(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(_SCRAPE_SECONDS)
            try:
                head = b""
                while b"\r\n\r\n" not in head and len(head) < 65536:
                    data = connection.recv(8192)
                    if not data:
                        return
                    head += data
                target = [*head.split(b"\r\n", 1)[0].split(b" "), b""][1].split(b"?")[0].decode("latin-1")
                if target in ("/prometheus", "/metrics", self._settings.metrics_path):
                    status, kind, body = "200 OK", CONTENT_TYPE, render(self._collect())
                else:
                    status, kind, body = "404 Not Found", "text/plain", b"metrics are at /prometheus\n"
                connection.sendall(
                    f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                    "Connection: close\r\n\r\n".encode()
                    + body
                )
            except OSError as error:
                log.debug("A scrape broke off: %s", error)

    def _collect(self) -> Snapshot:
        """All workers' counts; of one that is busy with its model those of the last scrape."""
        workers = [child for child in self._children.values() if child.role == "worker" and child.ready]
        for child in workers:
            if not child.asked:
                try:
                    channel.send(child.line, {"ask": True})
                    child.asked = True
                except OSError:
                    continue
        deadline = time.monotonic() + 1.0
        while any(child.asked for child in workers) and (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                if isinstance(key.data, Child):
                    if key.data in workers and not _open(key.data.line):
                        key.data.asked = False
                    self._read(key.data)
        return merge([self._retired, *(child.latest for child in workers if child.latest is not None)])


def _open(line: socket.socket) -> bool:
    try:
        return line.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def _tell(child: Child, what: str) -> None:
    try:
        channel.send(child.line, {what: True})
    except OSError:
        pass  # it has ended, and will be reaped


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def import_class(name: str) -> Any:
    """`Class` in a module of the same name, or `package.module.Class`."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module or name), attribute or name)
