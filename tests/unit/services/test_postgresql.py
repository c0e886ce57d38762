# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Servers that real ones are seldom: old logins, silence, nonsense, an answer that ends half-way."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._services.connection import ServiceError
from ansible_collections.mlops.onprem.plugins.module_utils._services.postgresql import PostgresqlError, Server

Talk = Callable[[socket.socket], None]
READY = b"Z" + struct.pack("!i", 5) + b"I"
WELCOME = b"R" + struct.pack("!ii", 8, 0)


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def refusal(code: str, text: str) -> bytes:
    return message(b"E", f"SFATAL\0C{code}\0M{text}\0\0".encode())


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """A server that says what the function does to each connection."""
    listeners = []

    def start(talk: Talk, sslmode: str = "disable", timeout: float = 2.0) -> Server:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run() -> None:
            try:
                while True:
                    connection, _address = listener.accept()
                    with connection:
                        talk(connection)
            except OSError:
                return

        threading.Thread(target=run, daemon=True).start()
        return Server("127.0.0.1", listener.getsockname()[1], sslmode=sslmode, ca="", timeout=timeout)

    yield start
    for listener in listeners:
        listener.close()


def startup(connection: socket.socket) -> bytes:
    (length,) = struct.unpack("!i", connection.recv(4))
    return connection.recv(length - 4)


def about(server: Server) -> str:
    with pytest.raises(ServiceError) as failed:
        server.login("user", "password", "database")
    return failed.value.about


def test_a_login_and_a_query(serve: Any) -> None:
    seen: dict[str, bytes] = {}

    def talk(connection: socket.socket) -> None:
        seen["startup"] = startup(connection)
        connection.sendall(WELCOME + READY)
        seen["query"] = connection.recv(4096)
        row = struct.pack("!h", 2) + struct.pack("!i", 3) + "ä1".encode() + struct.pack("!i", -1)
        connection.sendall(message(b"1", b"") + message(b"2", b"") + message(b"D", row) + message(b"C", b"x\0") + READY)
        connection.recv(64)

    with serve(talk).login("user", "password", "database") as session:
        assert session.query("SELECT $1", "parameter") == [["ä1", None]]
    assert b"user\0user\0database\0database\0" in seen["startup"]
    assert b"password" not in seen["startup"]
    assert b"parameter" in seen["query"]


def test_a_server_that_keeps_md5_hashes(serve: Any) -> None:
    salt = b"salt"
    inner = hashlib.md5(b"passworduser").hexdigest().encode()
    expected = b"md5" + hashlib.md5(inner + salt).hexdigest().encode() + b"\0"

    def talk(connection: socket.socket) -> None:
        startup(connection)
        connection.sendall(b"R" + struct.pack("!ii", 12, 5) + salt)
        answer = connection.recv(64)
        connection.sendall(WELCOME + READY if answer[5:] == expected else refusal("28P01", "no"))

    serve(talk).login("user", "password", "database").close()


def test_no_password_goes_over_the_wire_in_plain_text(serve: Any) -> None:
    sent: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        startup(connection)
        connection.sendall(b"R" + struct.pack("!ii", 8, 3))
        sent.append(connection.recv(64))

    assert about(serve(talk)) == "login"
    assert b"password" not in b"".join(sent)


def test_a_refusal_has_its_code(serve: Any) -> None:
    def talk(connection: socket.socket) -> None:
        startup(connection)
        connection.sendall(refusal("53300", "too many clients"))

    with pytest.raises(PostgresqlError, match="too many clients") as failed:
        serve(talk).login("user", "password", "database")
    assert failed.value.about == "53300"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 16, b"R\0\0", b"", b"Rzzzz"])
def test_who_does_not_speak_the_protocol(serve: Any, answer: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        startup(connection)
        connection.sendall(answer)

    assert about(serve(talk)) == "port"


def test_who_says_nothing_is_not_waited_for(serve: Any) -> None:
    quiet = threading.Event()
    assert about(serve(lambda connection: bool(quiet.wait(5)), timeout=0.2)) == "port"
    quiet.set()


@pytest.mark.parametrize(("answer", "expected"), [(b"N", "sslmode"), (b"E", "port"), (b"S", "tls")])
def test_who_offers_no_tls(serve: Any, answer: bytes, expected: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(answer)
        connection.recv(64)

    assert about(serve(talk, sslmode="verify-full")) == expected
