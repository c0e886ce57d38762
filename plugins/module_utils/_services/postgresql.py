# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of PostgreSQL's protocol (version 3) as it takes to log in and to ask.

https://www.postgresql.org/docs/current/protocol.html
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
from typing import TYPE_CHECKING, Any

from .connection import ServiceError, address, connect, secure, tls_context
from .scram import MECHANISM, Scram, ScramError

if TYPE_CHECKING:
    from types import TracebackType

SSL_MODES = ("verify-full", "verify-ca", "require", "disable")
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_PROTOCOL = 196608
_LONGEST = 2**24


class PostgresqlError(ServiceError):
    """The server's own refusal; ``about`` is its SQLSTATE."""


class Server:
    """Where a server is and how it is spoken to. Each login is a connection of its own."""

    def __init__(self, host: str, port: int, *, sslmode: str, ca: str, timeout: float) -> None:
        self.host = host
        self.port = port
        self.sslmode = sslmode
        self.timeout = timeout
        self._context: ssl.SSLContext | None = None
        if sslmode != "disable":
            verify = sslmode.startswith("verify-")
            self._context = tls_context(ca if verify else "", verify=verify, check_name=sslmode == "verify-full")

    def reach(self) -> socket.socket:
        """A connection on which nothing was said yet but what TLS needs."""
        plain = connect(self.host, self.port, self.timeout)
        if self._context is None:
            return plain
        try:
            plain.sendall(_SSL_REQUEST)
            answer = plain.recv(1)
        except OSError as error:
            plain.close()
            raise ServiceError("port", f"{self} doesn't answer as PostgreSQL does ({error})") from error
        if answer == b"S":
            return secure(plain, self.host, self._context)
        plain.close()
        if answer == b"N":
            raise ServiceError("sslmode", f"{self} offers no TLS")
        raise ServiceError("port", f"{self} doesn't answer as PostgreSQL does")

    def login(self, user: str, password: str, database: str) -> Session:
        session = Session(self.reach(), self)
        try:
            session.begin(user, password, database)
        except BaseException:
            session.close()
            raise
        return session

    def __str__(self) -> str:
        return address(self.host, self.port)


class Session:
    """A login. Use it in a ``with``."""

    def __init__(self, connection: socket.socket, server: Server) -> None:
        self._socket = connection
        self._server = server

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        try:
            self._send(b"X", b"")
        except ServiceError:
            pass
        self._socket.close()

    def begin(self, user: str, password: str, database: str) -> None:
        settings = {"user": user, "database": database, "client_encoding": "UTF8", "application_name": "mlops.onprem"}
        body = struct.pack("!i", _PROTOCOL) + _texts(*(text for pair in settings.items() for text in pair)) + b"\0"
        self._send(b"", body)
        scram = Scram(password)
        while True:
            kind, body = self._receive()
            if kind == b"Z":
                return
            if kind == b"R":
                self._authenticate(body, user, password, scram)

    def _authenticate(self, body: bytes, user: str, password: str, scram: Scram) -> None:
        (method,) = struct.unpack("!i", body[:4])
        data = body[4:]
        try:
            if method == 0:
                return
            if method == 3 and isinstance(self._socket, ssl.SSLSocket):
                self._send(b"p", _texts(password))
            elif method == 5:
                self._send(b"p", _texts(_md5(user, password, data)))
            elif method == 10 and MECHANISM.encode() in data.split(b"\0"):
                first = scram.first().encode()
                self._send(b"p", _texts(MECHANISM) + struct.pack("!i", len(first)) + first)
            elif method == 11:
                self._send(b"p", scram.final(data.decode()).encode())
            elif method == 12:
                scram.verify(data.decode())
            else:
                raise ServiceError("login", f"{self._server} wants another login than by password (method {method})")
        except ScramError as error:
            raise ServiceError("login", f"{self._server}: {error}") from error

    def query(self, statement: str, *parameters: str) -> list[list[str | None]]:
        """The rows, every value as text; parameters are $1, $2, ... in the statement."""
        values = b"".join(struct.pack("!i", len(raw)) + raw for raw in (text.encode() for text in parameters))
        bind = _texts("", "") + struct.pack("!hh", 0, len(parameters)) + values + struct.pack("!h", 0)
        self._send_all(
            (b"P", _texts("", statement) + struct.pack("!h", 0)),
            (b"B", bind),
            (b"E", _texts("") + struct.pack("!i", 0)),
            (b"S", b""),
        )
        rows: list[list[str | None]] = []
        refusal: PostgresqlError | None = None
        while True:
            try:
                kind, body = self._receive()
            except PostgresqlError as error:
                refusal = error
                continue
            if kind == b"D":
                rows.append(_row(body))
            elif kind == b"Z":
                break
        if refusal is not None:
            raise refusal
        return rows

    def value(self, statement: str, *parameters: str) -> str | None:
        """The first value of the first row; None where there is no row."""
        rows = self.query(statement, *parameters)
        return rows[0][0] if rows else None

    def _send(self, kind: bytes, body: bytes) -> None:
        self._send_all((kind, body))

    def _send_all(self, *messages: tuple[bytes, bytes]) -> None:
        try:
            self._socket.sendall(b"".join(kind + struct.pack("!i", len(body) + 4) + body for kind, body in messages))
        except OSError as error:
            raise self._broken(error) from error

    def _receive(self) -> tuple[bytes, bytes]:
        kind = self._exactly(1)
        (length,) = struct.unpack("!i", self._exactly(4))
        if not 4 <= length <= _LONGEST:
            raise ServiceError("port", f"{self._server} doesn't answer as PostgreSQL does")
        body = self._exactly(length - 4)
        if kind == b"E":
            fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
            raise PostgresqlError(fields.get(b"C", ""), fields.get(b"M", "an error without a message"))
        return kind, body

    def _exactly(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            try:
                part = self._socket.recv(size - len(received))
            except OSError as error:
                raise self._broken(error) from error
            if not part:
                raise ServiceError("port", f"{self._server} closes the connection")
            received += part
        return bytes(received)

    def _broken(self, error: OSError) -> ServiceError:
        return ServiceError("port", f"the connection to {self._server} broke: {error}")


def _texts(*texts: str) -> bytes:
    return b"".join(text.encode() + b"\0" for text in texts)


def _row(body: bytes) -> list[str | None]:
    (count,) = struct.unpack("!h", body[:2])
    values: list[str | None] = []
    place = 2
    for dummy in range(count):
        (size,) = struct.unpack("!i", body[place : place + 4])
        place += 4
        values.append(None if size < 0 else body[place : place + size].decode(errors="replace"))
        place += max(size, 0)
    return values


def _md5(user: str, password: str, salt: bytes) -> str:
    """The login of servers that keep MD5 hashes still; the protocol's choice, not ours."""

    def digest(data: bytes) -> str:
        made: Any = hashlib.md5(data)  # noqa: S324
        return str(made.hexdigest())

    return "md5" + digest(digest(password.encode() + user.encode()).encode() + salt)
