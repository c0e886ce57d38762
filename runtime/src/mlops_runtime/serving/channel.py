# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The line between the supervisor and a worker: JSON messages, each after its length.

The supervisor says why the model isn't there yet, lets a loaded worker serve, and asks for snapshots; the worker says
that it is loaded and then that it is ready, sends snapshots, and a last one when it ends. Who answers in the model's
place is told to leave the port, says that it has left, and is told when a worker serves. A line that closes means that
the other side is gone.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from mlops_runtime.serving.metrics import Registry

_LENGTH = struct.Struct("!I")


def send(line: socket.socket, message: dict[str, Any]) -> None:
    body = orjson.dumps(message)
    line.sendall(_LENGTH.pack(len(body)) + body)


class Inbox:
    """Cuts what arrives on a line into messages."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        self._held += data
        messages = []
        while len(self._held) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._held)
            if len(self._held) < _LENGTH.size + length:
                break
            messages.append(orjson.loads(self._held[_LENGTH.size : _LENGTH.size + length]))
            self._held = self._held[_LENGTH.size + length :]
        return messages


class WorkerEnd:
    """A worker's end of the line, on its event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        line: socket.socket,
        registry: Registry | None,
        on_end: Callable[[], None],
        on: Mapping[str, Callable[[Any], None]],
    ) -> None:
        self._loop = loop
        self._line = line
        self._registry = registry
        self._on_end = on_end
        self._on = on
        self._inbox = Inbox()
        self._may_serve = asyncio.Event()
        loop.add_reader(line, self._read)

    async def loaded(self) -> None:
        """Returns when the worker may listen."""
        send(self._line, {"loaded": True})
        await self._may_serve.wait()

    def ready(self) -> None:
        send(self._line, {"ready": True})

    def left(self) -> None:
        send(self._line, {"left": True})

    def end(self) -> None:
        """Send what was counted since the last time somebody asked, and hang up."""
        self._loop.remove_reader(self._line)
        try:
            self._send_snapshot(last=True)
        except OSError:
            pass
        self._line.close()

    def _send_snapshot(self, last: bool = False) -> None:
        if self._registry is not None:
            send(self._line, {"snapshot": self._registry.snapshot(), "last": last})

    def _read(self) -> None:
        try:
            data = self._line.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._line)
            self._may_serve.set()
            self._on_end()
            return
        for message in self._inbox.feed(data):
            if "serve" in message:
                self._may_serve.set()
            elif "ask" in message:
                self._send_snapshot()
            for name in self._on.keys() & message.keys():
                self._on[name](message[name])


def serve_snapshots(
    loop: asyncio.AbstractEventLoop,
    line: socket.socket,
    registry: Registry | None,
    on_end: Callable[[], None],
    on: Mapping[str, Callable[[Any], None]] | None = None,
) -> WorkerEnd:
    """`on`: what to do when the supervisor says something of that name."""
    return WorkerEnd(loop, line, registry, on_end, on or {})
