# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP client for the platform's APIs, of the standard library alone.

Connections are kept open, one per thread. A request is repeated only where that is harmless: when nothing was sent yet,
or when the caller says that a repeat changes nothing. Names ending in ``.localhost`` mean this machine (RFC 6761),
which Python's resolver doesn't know.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ._errors import InputError, RequestError

CHUNK = 1024 * 1024
# A proxy of large files stores the whole file before it answers: it gets this long, plus the time of a slow disk or
# network.
TRANSFER_GRACE = 60.0
TRANSFER_RATE = 4 * 1024 * 1024
REPEATABLE_STATUS = frozenset({429, 500, 502, 503, 504})
GATEWAY_STATUS = frozenset({502, 503, 504})
BROKEN = (http.client.HTTPException, OSError)


class Explain(Protocol):
    """Turns an answer's status and message into a hint, for the API at hand."""

    def __call__(self, status: int | None, message: str) -> str: ...


def resolve_locally(host: str) -> str:
    """The name or address to connect to: ``x.localhost`` is this machine."""
    return "127.0.0.1" if host.lower().rstrip(".").endswith(".localhost") else host


class _Plain(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.create_connection((resolve_locally(self.host), self.port), self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _Secure(http.client.HTTPConnection):
    def __init__(
        self, host: str, port: int, *, context: ssl.SSLContext, name: str, timeout: float, blocksize: int
    ) -> None:
        super().__init__(host, port, timeout=timeout, blocksize=blocksize)
        self._context = context
        self._name = name

    def connect(self) -> None:
        plain = socket.create_connection((resolve_locally(self.host), self.port), self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.sock = self._context.wrap_socket(plain, server_hostname=self._name)
        except BaseException:
            plain.close()
            raise


class HttpClient:
    """Requests to one server.

    :param base: ``http(s)://[user:password@]host[:port][/prefix]``; credentials in it count where none are given.
    :param timeout: seconds to wait for a connection, and for each answer of the API.
    :param retries: how often a request that may be repeated is repeated.
    :param token: what to authenticate with as a bearer, in place of a user.
    :param headers: what to send with every request.
    :param host_header: what to send as Host, where it differs from the address.
    :param option: the name of the option that ``base`` comes from, for messages.
    :param nothing_done: tells an answer after which the server has done nothing: then any request may be repeated.
    """

    def __init__(
        self,
        base: str,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        ca_path: str | None = None,
        validate_certs: bool = True,
        timeout: float = 30.0,
        retries: int = 3,
        host_header: str | None = None,
        option: str = "url",
        explain: Explain | None = None,
        nothing_done: Callable[[RequestError], bool] = lambda _: False,
    ) -> None:
        parts = urllib.parse.urlsplit(base)
        try:
            port = parts.port
        except ValueError as error:
            raise InputError(f"{option}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            shown = re.sub(r"//[^/@]*@", "//***@", base)
            raise InputError(f"{option}: {shown!r} is not an address of the form http(s)://host[:port][/path]")
        if parts.query or parts.fragment:
            raise InputError(f"{option}: the address must have no query and no fragment")
        if timeout <= 0:
            raise InputError("timeout: must be above 0 seconds")
        if username is None and parts.username:
            username = urllib.parse.unquote(parts.username)
            password = urllib.parse.unquote(parts.password or "") if password is None else password
        self._host = parts.hostname
        self._port = port or (443 if parts.scheme == "https" else 80)
        netloc = parts.netloc.rpartition("@")[2]
        self._host_header = host_header or netloc
        self._prefix = parts.path.rstrip("/")
        self.base = f"{parts.scheme}://{netloc}{self._prefix}"
        self.username = username
        self._headers = {"Host": self._host_header, "Accept": "application/json", "User-Agent": "mlops.onprem"}
        self._headers |= headers or {}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        elif username is not None:
            pair = base64.b64encode(f"{username}:{password or ''}".encode()).decode()
            self._headers["Authorization"] = f"Basic {pair}"
        self._context = _tls_context(ca_path, validate_certs) if parts.scheme == "https" else None
        self._timeout = timeout
        self._retries = max(0, retries)
        self._explain = explain
        self._nothing_done = nothing_done
        self._local = threading.local()
        self._open: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()

    def address(self, path: str) -> str:
        """The full address of a path, as shown in messages."""
        return f"{self.base}{urllib.parse.unquote_plus(path)}"

    def json(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | list[Any] | None = None,
        repeat: bool | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """One call of a JSON API.

        :param repeat: whether a repeat is harmless; by default for GET and PUT.
        :raises RequestError: whenever the answer isn't a complete JSON document with a status below 300.
        """
        if query:
            path = f"{path}?{urllib.parse.urlencode(query)}"
        data = None if body is None else json.dumps(body).encode()
        sent = dict(headers or {})
        if data is not None:
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(data))}

        def attempt() -> Any:
            response = self._send(method, path, sent, data, self._timeout, fresh=not again)
            raw = self._drain(method, path, response, self._timeout)
            if not raw.strip():
                return {}
            try:
                return json.loads(raw)
            except ValueError as error:
                message = f"the answer is not JSON: {_readable(raw)!r}"
                raise RequestError(method, self.address(path), message, hint=self._hint(None, message)) from error

        again = method in ("GET", "PUT") if repeat is None else repeat
        return self._repeated(attempt, again)

    def upload(self, path: str, open_source: Callable[[], BinaryIO], size: int) -> None:
        """PUT a file, streamed; ``open_source`` is called for each attempt."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        patience = max(self._timeout, TRANSFER_GRACE + size / TRANSFER_RATE)

        def attempt() -> None:
            with open_source() as source:
                response = self._send("PUT", path, headers, source, patience)
            self._drain("PUT", path, response, patience)

        self._repeated(attempt, True)

    @contextlib.contextmanager
    def download(self, path: str, size: int = 0) -> Iterator[Iterator[bytes]]:
        """GET a file as chunks; a body that ends early raises."""
        patience = max(self._timeout, TRANSFER_GRACE + size / TRANSFER_RATE)
        response = self._repeated(lambda: self._get(path, patience), True)

        def chunks() -> Iterator[bytes]:
            try:
                while chunk := response.read(CHUNK):
                    yield chunk
                if response.length:  # read(n) ends in silence where the connection does
                    raise http.client.IncompleteRead(b"", response.length)
            except BROKEN as error:
                raise self._broken("GET", path, error, patience) from error

        try:
            yield chunks()
        finally:
            if not response.isclosed():
                self._drop()

    def _get(self, path: str, patience: float) -> http.client.HTTPResponse:
        response = self._send("GET", path, {}, None, patience)
        if response.status >= 300:
            self._drain("GET", path, response, self._timeout)
        return response

    def _repeated(self, attempt: Callable[[], Any], again: bool) -> Any:
        for turn in range(self._retries + 1):
            try:
                return attempt()
            except RequestError as error:
                passing = error.status in REPEATABLE_STATUS or (error.status is None and error.unreachable)
                harmless = error.code == "NOT_SENT" or self._nothing_done(error)
                if turn == self._retries or not (harmless or (again and passing)):
                    raise
            time.sleep(min(0.2 * 3**turn, 5.0))
        raise AssertionError("unreachable")

    def _send(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes | BinaryIO | None,
        patience: float,
        *,
        fresh: bool = False,
    ) -> http.client.HTTPResponse:
        # A kept connection may be closed by the other side just now; what can't be repeated gets a new one.
        if fresh:
            self._drop()
        try:
            connection = self._connection()
        except OSError as error:
            raise self._broken(method, path, error, self._timeout, sent=False) from error
        if connection.sock is not None:
            connection.sock.settimeout(patience)
        try:
            try:
                connection.putrequest(method, f"{self._prefix}{path}", skip_host=True, skip_accept_encoding=True)
                for name, value in (self._headers | headers).items():
                    connection.putheader(name, value)
                connection.endheaders(body)
            except (BrokenPipeError, ConnectionResetError) as broken:
                # A server that refuses a body answers before it has read all of it.
                try:
                    return connection.getresponse()
                except BROKEN:
                    raise broken from None
            return connection.getresponse()
        except BROKEN as error:
            self._drop()
            raise self._broken(method, path, error, patience) from error
        except BaseException:
            self._drop()
            raise

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None or connection.sock is None:
            if self._context is None:
                connection = _Plain(self._host, self._port, timeout=self._timeout, blocksize=CHUNK)
            else:
                name = urllib.parse.urlsplit(f"//{self._host_header}").hostname or self._host
                connection = _Secure(
                    self._host, self._port, context=self._context, name=name, timeout=self._timeout, blocksize=CHUNK
                )
            connection.connect()
            self._local.connection = connection
            with self._lock:
                self._open.append(connection)
        return connection

    def _drop(self) -> None:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None
            with self._lock, contextlib.suppress(ValueError):
                self._open.remove(connection)

    def _drain(self, method: str, path: str, response: http.client.HTTPResponse, patience: float) -> bytes:
        """The whole body within ``patience`` seconds; a status of 300 and above raises."""
        deadline = time.monotonic() + patience
        raw = bytearray()
        try:
            while chunk := response.read1(CHUNK):
                raw += chunk
                if time.monotonic() > deadline:
                    raise TimeoutError("timed out")
            if response.length:
                raise http.client.IncompleteRead(bytes(raw), response.length)
        except BROKEN as error:
            self._drop()
            raise self._broken(method, path, error, patience) from error
        # read1 doesn't notice the end of a body of known length; unclosed, the connection takes no further request.
        response.close()
        if response.will_close:
            self._drop()
        if response.status >= 300:
            raise self._refusal(method, path, response, bytes(raw))
        return bytes(raw)

    def _refusal(self, method: str, path: str, response: http.client.HTTPResponse, raw: bytes) -> RequestError:
        message, code = _readable(raw) or response.reason, ""
        understood = False
        with contextlib.suppress(ValueError):
            parsed = json.loads(raw)
            if isinstance(parsed, dict):
                understood = True
                message = _reason(parsed) or message
                code = str(parsed.get("error_code") or parsed.get("messageId") or "")
        location = response.getheader("Location")
        if response.status < 400 and location:
            message = f"redirected to {_without_credentials(location)}"
        gateway_only = response.status == 404 and not understood
        return RequestError(
            method,
            self.address(path),
            message,
            status=response.status,
            code=code,
            hint=self._hint(response.status, message),
            unreachable=response.status in GATEWAY_STATUS or gateway_only,
        )

    def _broken(
        self, method: str, path: str, error: BaseException, patience: float, *, sent: bool = True
    ) -> RequestError:
        code, unreachable = "" if sent else "NOT_SENT", True
        if isinstance(error, ssl.SSLCertVerificationError):
            message, code, unreachable = (
                f"the server's certificate is refused: {error.verify_message}",
                "CERTIFICATE",
                False,
            )
        elif isinstance(error, TimeoutError):
            message = f"no complete answer within {patience:g} s" if sent else f"no connection within {patience:g} s"
        elif isinstance(error, http.client.IncompleteRead):
            missing = f", {error.expected} bytes are missing" if error.expected else ""
            message = f"the answer broke off{missing}"
        elif isinstance(error, http.client.RemoteDisconnected):
            message = "the server closed the connection without an answer"
        elif isinstance(error, socket.gaierror):
            message = f"the name {self._host!r} is not known: {error.strerror}"
        elif isinstance(error, OSError):
            message = error.strerror or str(error) or type(error).__name__
        else:
            message = f"the answer is no HTTP: {error}"
        if code == "CERTIFICATE":
            hint = "Set ca_path to the certificate authority's file, or correct the name in the address."
        else:
            hint = self._hint(None, message)
        return RequestError(method, self.address(path), message, code=code, hint=hint, unreachable=unreachable)

    def _hint(self, status: int | None, message: str) -> str:
        return self._explain(status, message) if self._explain else ""


def _tls_context(ca_path: str | None, validate_certs: bool) -> ssl.SSLContext:
    try:
        if ca_path is None:
            context = ssl.create_default_context()
        elif Path(ca_path).is_dir():
            context = ssl.create_default_context(capath=ca_path)
        else:
            context = ssl.create_default_context(cafile=ca_path)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"ca_path: {ca_path} can't be read as certificates in PEM format: {error}") from error
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _reason(answer: dict[str, Any]) -> str:
    """What an answer says about itself; FastAPI's lists of problems without the values that were sent."""
    said = next((answer[key] for key in ("message", "detail", "error", "exception_message") if answer.get(key)), "")
    problems = answer.get("exception_detail") or said
    return "; ".join(map(_problem, problems)) if isinstance(problems, list) else str(said)


def _problem(one: Any) -> str:
    return f"{'.'.join(map(str, one.get('loc', [])))}: {one.get('msg')}" if isinstance(one, dict) else str(one)


def _without_credentials(address: str) -> str:
    return re.sub(r"//[^/@]*@", "//", address)


def _readable(raw: bytes, limit: int = 300) -> str:
    text = re.sub(r"(?s)<(script|style).*?</\1>|<[^>]+>", " ", raw.decode("utf-8", "replace"))
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]}…"
