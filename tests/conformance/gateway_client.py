# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A client of a platform's gateway, also where its domain resolves nowhere yet: by an address and a Host header."""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class _By(http.client.HTTPConnection):
    """Connects to one address, and speaks TLS under the name that is asked for."""

    def __init__(self, gateway: Gateway, host: str, secure: bool, port: int) -> None:
        super().__init__(host, port, timeout=gateway.timeout)
        self._gateway = gateway
        self._secure = secure

    def connect(self) -> None:
        self.sock = socket.create_connection((self._gateway.connects_to or self.host, self.port), self.timeout)
        if self._secure:
            self.sock = self._gateway.tls.wrap_socket(self.sock, server_hostname=self.host)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def text(self, length: int = 500) -> str:
        return self.body[:length].decode(errors="replace")


@dataclass(frozen=True)
class Gateway:
    url: str
    """As users write it."""
    address: str = ""
    """Where it is reached while the domain doesn't resolve; empty for the domain."""
    ca: str = ""
    """PEM file to trust; empty for the system's authorities."""
    timeout: float = 30
    tls: ssl.SSLContext = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tls", ssl.create_default_context(cafile=self.ca or None))

    @property
    def secure(self) -> bool:
        return self.parts.scheme == "https"

    @property
    def parts(self) -> urllib.parse.SplitResult:
        return urllib.parse.urlsplit(self.url)

    @property
    def domain(self) -> str:
        return self.parts.hostname or ""

    @property
    def port(self) -> int:
        return self.parts.port or (443 if self.secure else 80)

    @property
    def connects_to(self) -> str:
        """Python's resolver doesn't know names below localhost."""
        local = self.domain == "localhost" or self.domain.endswith(".localhost")
        return self.address or ("127.0.0.1" if local else "")

    def host(self, subdomain: str = "") -> str:
        return f"{subdomain}.{self.domain}" if subdomain else self.domain

    def request(
        self,
        path: str,
        *,
        subdomain: str = "",
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | str | None = None,
        plain_port: int = 0,
    ) -> Answer:
        """One request on a connection of its own; ``plain_port``: without TLS, at that port."""
        host = self.host(subdomain)
        connection = _By(self, host, self.secure and not plain_port, plain_port or self.port)
        usual = {"Host": host if plain_port or self.parts.port is None else f"{host}:{self.port}"}
        try:
            connection.request(method, path, body, {**usual, **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://localhost", help="the platform's address, as users write it")
    parser.add_argument("--address", default="", help="where the gateway is reached while the domain doesn't resolve")
    parser.add_argument("--ca", default="", help="PEM file to trust instead of the system's authorities")


def from_arguments(options: argparse.Namespace) -> Gateway:
    return Gateway(options.url, options.address, options.ca)
