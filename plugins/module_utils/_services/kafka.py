# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of Kafka's protocol as it takes to log in and to ask who the brokers are and which topics one may see.

https://kafka.apache.org/42/design/protocol/
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .connection import ServiceError, address, connect, secure, tls_context
from .scram import Scram, ScramError

if TYPE_CHECKING:
    from types import TracebackType

MECHANISM = "SCRAM-SHA-512"
METADATA, SASL_HANDSHAKE, SASL_AUTHENTICATE = (3, 4), (17, 1), (36, 0)  # with the versions that we speak
UNSUPPORTED_MECHANISM, TOPIC_REFUSED = 33, 29
_LONGEST = 2**24


class LoginError(ServiceError):
    """The broker doesn't take the user; ``about`` is ``user`` or ``mechanism``."""


@dataclass(frozen=True)
class Metadata:
    """``brokers``: host and port of each, as clients are told them. ``refused``: topics that the user may not see."""

    brokers: tuple[tuple[str, int], ...]
    refused: tuple[str, ...]


class Broker:
    """Where a broker is and how it is trusted. Each login is a connection of its own."""

    def __init__(self, host: str, port: int, *, ca: str, timeout: float) -> None:
        self.host = host
        self.port = port
        self.timeout = timeout
        self._context = tls_context(ca)

    def login(self, user: str, password: str) -> Session:
        session = Session(secure(connect(self.host, self.port, self.timeout), self.host, self._context), str(self))
        try:
            session.begin(user, password)
        except BaseException:
            session.close()
            raise
        return session

    def __str__(self) -> str:
        return address(self.host, self.port)


class Session:
    """A login. Use it in a ``with``."""

    def __init__(self, connection: socket.socket, server: str) -> None:
        self._socket = connection
        self._server = server
        self._number = 0

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def begin(self, user: str, password: str) -> None:
        answer = self._ask(SASL_HANDSHAKE, _text(MECHANISM))
        if answer.int16() == UNSUPPORTED_MECHANISM:
            raise LoginError("mechanism", f"{self._server} doesn't offer {MECHANISM}")
        scram = Scram(password, user=user, digest="sha512")
        try:
            challenge = self._authenticate(scram.first())
            scram.verify(self._authenticate(scram.final(challenge)))
        except ScramError as error:
            raise LoginError("user", str(error)) from error

    def _authenticate(self, message: str) -> str:
        data = message.encode()
        answer = self._ask(SASL_AUTHENTICATE, struct.pack("!i", len(data)) + data)
        code, reason = answer.int16(), answer.text()
        if code:
            raise LoginError("user", reason or f"error {code}")
        return answer.blob().decode(errors="replace")

    def metadata(self, topics: list[str]) -> Metadata:
        """Makes none of the topics that aren't there."""
        body = struct.pack("!i", len(topics)) + b"".join(map(_text, topics)) + b"\0"
        answer = self._ask(METADATA, body)
        answer.int32()  # for how long the broker held us back
        brokers = []
        for _broker in range(answer.int32()):
            answer.int32()  # its number
            brokers.append((answer.text(), answer.int32()))
            answer.text()  # its rack
        answer.text()  # the cluster's id
        answer.int32()  # the controller's number
        refused = []
        for _topic in range(answer.int32()):
            code, name = answer.int16(), answer.text()
            if code == TOPIC_REFUSED:
                refused.append(name)
            answer.skip(1)
            for _partition in range(answer.int32()):
                answer.skip(2 + 4 + 4)
                for _replicas in range(2):
                    answer.skip(4 * answer.int32())
        return Metadata(tuple(brokers), tuple(refused))

    def _ask(self, request: tuple[int, int], body: bytes) -> _Answer:
        self._number += 1
        message = struct.pack("!hhi", *request, self._number) + _text("mlops.onprem") + body
        try:
            self._socket.sendall(struct.pack("!i", len(message)) + message)
            (length,) = struct.unpack("!i", self._receive(4))
            if not 4 <= length <= _LONGEST:
                raise ServiceError("port", f"{self._server} doesn't answer as Kafka does")
            return _Answer(self._receive(length)[4:], self._server)
        except OSError as error:
            raise ServiceError("port", f"{self._server} doesn't answer as Kafka does ({error})") from error

    def _receive(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            part = self._socket.recv(length - len(found))
            if not part:
                raise ServiceError("port", f"{self._server} ends the connection: it doesn't answer as Kafka does")
            found += part
        return found


class _Answer:
    """Reads an answer from its beginning to its end."""

    def __init__(self, data: bytes, server: str) -> None:
        self._data = data
        self._at = 0
        self._server = server

    def skip(self, length: int) -> bytes:
        found = self._data[self._at : self._at + length]
        if length < 0 or len(found) != length:
            raise ServiceError("port", f"{self._server} doesn't answer as Kafka does")
        self._at += length
        return found

    def int16(self) -> int:
        return int.from_bytes(self.skip(2), "big", signed=True)

    def int32(self) -> int:
        return int.from_bytes(self.skip(4), "big", signed=True)

    def text(self) -> str:
        """Empty where there is none."""
        length = self.int16()
        return "" if length < 0 else self.skip(length).decode(errors="replace")

    def blob(self) -> bytes:
        length = self.int32()
        return b"" if length < 0 else self.skip(length)


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("!h", len(data)) + data
