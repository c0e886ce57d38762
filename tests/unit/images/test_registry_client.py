# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The registry's answers, from a stand-in that also answers wrongly."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._images.errors import ImagesError
from ansible_collections.mlops.onprem.plugins.module_utils._images.reference import Reference
from ansible_collections.mlops.onprem.plugins.module_utils._images.registry_client import (
    RegistryClient,
    RegistryUnreachableError,
)

DIGEST = "sha256:" + "c" * 64


class Handler(BaseHTTPRequestHandler):
    mode = "open"

    def do_GET(self) -> None:
        if self.path.startswith("/token"):
            good = self.headers.get("Authorization") == "Basic " + base64.b64encode(b"u:p").decode()
            self._answer(200 if good else 401, b'{"token": "T"}' if good else b"")
        else:
            self.do_HEAD()

    def do_HEAD(self) -> None:
        authorization = self.headers.get("Authorization", "")
        if self.mode == "token" and authorization != "Bearer T":
            port = self.server.server_address[1]
            self._answer(
                401, b"", ("WWW-Authenticate", f'Bearer realm="http://127.0.0.1:{port}/token",service="s",scope="pull"')
            )
        elif self.mode == "stolen" and authorization != "Bearer T":
            self._answer(401, b"", ("WWW-Authenticate", 'Bearer realm="http://evil.example.org/token",service="s"'))
        elif self.mode == "basic" and not authorization.startswith("Basic"):
            self._answer(401, b"", ("WWW-Authenticate", 'Basic realm="r"'))
        elif self.mode == "broken":
            self._answer(500, b'{"errors": [{"message": "disk full"}]}')
        elif self.path.endswith(("/there", "/v2/")):
            self._answer(200, b"", ("Docker-Content-Digest", DIGEST))
        else:
            self._answer(404, b"")

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def ask(address: str, tag: str = "there", **more: str) -> str | None:
    return RegistryClient(address, timeout=5, **more).digest(Reference(address, "a", tag))  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["open", "token", "basic"])
def test_digest(address: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "mode", mode)
    assert ask(address, username="u", password="p") == DIGEST
    assert ask(address, "absent", username="u", password="p") is None


@pytest.mark.parametrize("mode", ["token", "basic"])
def test_refused_users_are_told_which_variable(address: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "mode", mode)
    with pytest.raises(ImagesError) as caught:
        ask(address)
    assert "registry_username" in str(caught.value) or "status 401" in str(caught.value)


@pytest.mark.parametrize("mode", ["open", "token", "basic"])
def test_the_user_is_checked(address: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "mode", mode)
    RegistryClient(address, username="u", password="p", timeout=5).check()
    if mode != "open":
        with pytest.raises(ImagesError):
            RegistryClient(address, timeout=5).check()


def test_credentials_go_to_no_plain_address_elsewhere(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "mode", "stolen")
    with pytest.raises(ImagesError, match=r"evil\.example\.org.*isn't https"):
        ask(address, username="u", password="p")


def test_the_registrys_own_message_is_shown(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "mode", "broken")
    with pytest.raises(ImagesError, match="status 500"):
        ask(address)


def test_nobody_there_is_an_error_of_its_own() -> None:
    with pytest.raises(RegistryUnreachableError, match="doesn't answer"):
        ask("127.0.0.1:1")


def test_loopback_is_plain_and_docker_io_is_where_it_is() -> None:
    assert RegistryClient("127.0.0.1:5000").url == "http://127.0.0.1:5000"
    assert RegistryClient("192.0.2.1:5000/path").url == "https://192.0.2.1:5000"
    assert RegistryClient("docker.io").url == "https://registry-1.docker.io"


def test_a_password_is_in_no_representation() -> None:
    assert "geheim" not in repr(RegistryClient("r", username="u", password="geheim"))
