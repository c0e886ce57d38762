# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import socket
import time

import pytest
from mlops_runtime.agent.readiness import Target, Verdict, ask, ask_all


async def serve(answer: bytes | None, seen: list[bytes] | None = None) -> tuple[asyncio.Server, int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(request)
        if answer is None:
            await asyncio.sleep(5)
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", Verdict.READY),
        (b"HTTP/1.0 204\r\n\r\n", Verdict.READY),
        (b"HTTP/1.1 302 Found\r\n\r\n", Verdict.READY),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", Verdict.NOT_READY),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", Verdict.NOT_READY),
        (b"220 mail.example\r\n", Verdict.NOT_READY),
        (b"", Verdict.NOT_READY),
        (None, Verdict.SILENT),
    ],
)
def test_the_answer_decides(answer: bytes | None, verdict: Verdict) -> None:
    async def run() -> Verdict:
        server, port = await serve(answer)
        async with server:
            return await ask(Target("127.0.0.1", port, "/ready"), 0.5)

    assert asyncio.run(run()) is verdict


def test_a_connection_is_enough_where_there_is_no_path() -> None:
    async def run() -> Verdict:
        server, port = await serve(None)
        async with server:
            return await ask(Target("127.0.0.1", port), 0.5)

    assert asyncio.run(run()) is Verdict.READY


def test_a_refused_connection_is_not_ready_and_no_word_is_silence() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        assert asyncio.run(ask(Target("127.0.0.1", port, "/"), 0.5)) is Verdict.NOT_READY
    # A backlog of none, filled: the next connection hears nothing.
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        begun = time.monotonic()
        assert asyncio.run(ask(Target("127.0.0.1", full.getsockname()[1], "/"), 0.3)) is Verdict.SILENT
        assert time.monotonic() - begun < 2


def test_headers_are_sent_and_the_host_can_be_chosen() -> None:
    async def run() -> bytes:
        seen: list[bytes] = []
        server, port = await serve(b"HTTP/1.1 200 OK\r\n\r\n", seen)
        async with server:
            await ask(Target("127.0.0.1", port, "/health?x=1", {"host": "mlflow", "X-A": "b"}), 0.5)
        return seen[0]

    lines = asyncio.run(run()).decode().split("\r\n")
    assert lines[0] == "GET /health?x=1 HTTP/1.1"
    assert [line for line in lines if line.lower().startswith("host:")] == ["host: mlflow"]
    assert "x-a: b" in lines


def test_many_are_asked_at_once() -> None:
    async def run() -> list[Verdict]:
        server, port = await serve(b"HTTP/1.1 200 OK\r\n\r\n")
        async with server:
            verdicts = await ask_all([Target("127.0.0.1", port, f"/{n}") for n in range(100)], 2, at_once=8)
        return list(verdicts.values())

    assert asyncio.run(run()) == [Verdict.READY] * 100
