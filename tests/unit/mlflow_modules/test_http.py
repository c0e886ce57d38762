# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import hashlib
import io
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils import _http
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError, RequestError
from ansible_collections.mlops.onprem.plugins.module_utils._http import HttpClient
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.client import explain


def say(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, *, length: int | None = None, **headers: str
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)


def client(url: str, **options: Any) -> HttpClient:
    return HttpClient(url, explain=explain, option="tracking_uri", **options)


def test_sends_json_credentials_and_host(stub: Any) -> None:
    stub.answer = lambda handler, body: say(handler, 200, b'{"a": 1}')
    http = client(
        f"http://x.localhost:{stub.port}/prefix/", username="me", password="pa:ss", host_header="mlflow.example"
    )
    assert http.json("POST", "/api", query={"q": "a b"}, body={"k": "v"}) == {"a": 1}
    method, path, headers, body = stub.requests[0]
    assert (method, path, json.loads(body)) == ("POST", "/prefix/api?q=a+b", {"k": "v"})
    assert headers["Host"] == "mlflow.example"
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"me:pa:ss").decode()


def test_a_name_below_localhost_is_this_machine(stub: Any) -> None:
    stub.answer = lambda handler, body: say(handler, 200, b"{}")
    client(f"http://mlflow.localhost:{stub.port}").json("GET", "/")
    assert stub.requests[0][2]["Host"] == f"mlflow.localhost:{stub.port}"


def test_credentials_in_the_address_count_and_are_never_shown(stub: Any) -> None:
    stub.answer = lambda handler, body: say(handler, 403, b"Permission denied")
    http = client(f"http://me:s%65cret@127.0.0.1:{stub.port}")
    with pytest.raises(RequestError) as caught:
        http.json("GET", "/api")
    assert stub.requests[0][2]["Authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()
    assert "secret" not in str(caught.value) and "me:" not in str(caught.value)
    assert str(caught.value).startswith(f"GET http://127.0.0.1:{stub.port}/api: HTTP 403: Permission denied. ")


@pytest.mark.parametrize(
    "url", ["mlflow:5000", "ftp://x", "http://", "http://x:port", "http://x/?a=1", "http://u:topsecret@", "/srv/mlruns"]
)
def test_a_wrong_address_names_the_option(url: str) -> None:
    with pytest.raises(InputError, match=r"^tracking_uri: ") as caught:
        client(url)
    assert "topsecret" not in str(caught.value)


def test_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(RequestError, match=r"Connection refused. Is the MLflow server running") as caught:
        client(f"http://127.0.0.1:{port}").json("POST", "/api", body={})
    assert caught.value.unreachable


def test_unknown_name() -> None:
    with pytest.raises(RequestError, match=r"'nowhere.invalid' is not known") as caught:
        client("http://nowhere.invalid").json("GET", "/")
    assert caught.value.unreachable


def test_slow_answer(stub: Any) -> None:
    ended = threading.Event()
    stub.answer = lambda handler, body: ended.wait(5)
    with pytest.raises(RequestError, match=r"no complete answer within 0.2 s") as caught:
        client(stub.url, timeout=0.2).json("POST", "/api", body={})
    ended.set()
    assert caught.value.unreachable
    assert len(stub.requests) == 1


def test_answer_that_drips_for_ever(stub: Any) -> None:
    def drip(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            ended.wait(0.05)

    ended = threading.Event()
    stub.answer = drip
    began = time.monotonic()
    with pytest.raises(RequestError, match=r"no complete answer"):
        client(stub.url, timeout=0.3, retries=0).json("GET", "/api")
    ended.set()
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(("method", "times"), [("GET", 4), ("POST", 1)])
def test_half_an_answer(stub: Any, method: str, times: int) -> None:
    def half(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        say(handler, 200, b'{"model', length=50)
        handler.close_connection = True

    stub.answer = half
    with pytest.raises(RequestError, match=r"the answer broke off, 43 bytes are missing"):
        client(stub.url).json(method, "/api", body=None if method == "GET" else {})
    assert len(stub.requests) == times


def test_no_answer_at_all(stub: Any) -> None:
    def drop(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.close_connection = True

    stub.answer = drop
    with pytest.raises(RequestError, match=r"closed the connection without an answer"):
        client(stub.url).json("POST", "/api", body={})
    assert len(stub.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_repeats_what_is_harmless(stub: Any, status: int) -> None:
    def flaky(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        say(handler, *((status, b"busy") if len(stub.requests) < 3 else (200, b"{}")))

    stub.answer = flaky
    assert client(stub.url).json("POST", "/api", body={}, repeat=True) == {}
    assert len(stub.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413])
def test_never_repeats_a_refusal(stub: Any, status: int) -> None:
    stub.answer = lambda handler, body: say(handler, status, b'{"error_code": "X", "message": "no"}')
    with pytest.raises(RequestError, match=f"HTTP {status}: no") as caught:
        client(stub.url).json("GET", "/api")
    assert len(stub.requests) == 1
    assert (caught.value.code, caught.value.status) == ("X", status)


def test_what_cant_be_repeated_goes_over_a_new_connection(stub: Any) -> None:
    ports = []

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        ports.append(handler.client_address[1])
        say(handler, 200, b"{}")

    stub.answer = answer
    http = client(stub.url)
    for method in ("GET", "GET", "POST", "GET"):
        http.json(method, "/", body=None if method == "GET" else {})
    assert ports[0] == ports[1] != ports[2] == ports[3]


@pytest.mark.parametrize(
    ("status", "body", "headers", "message"),
    [
        (
            200,
            b"<html><script>x()</script><h1>Welcome</h1></html>",
            {},
            "not JSON: 'Welcome'. Is tracking_uri the address",
        ),
        (302, b"", {"Location": "https://me:pw@other/login"}, "redirected to https://other/login. Set tracking_uri"),
        (401, b"You are not authenticated.", {}, "check username and password"),
        (403, b"Invalid Host header - possible DNS rebinding", {}, "--allowed-hosts must name this host"),
        (422, b'{"detail": "bad"}', {}, "HTTP 422: bad"),
        (
            422,
            b'{"exception_message": "Invalid", "exception_detail": [{"loc": ["body", 0, "a"], "msg": "wrong",'
            b' "input": "topsecret"}], "request_body": {"a": "topsecret"}}',
            {},
            "HTTP 422: body.0.a: wrong",
        ),
        (401, b'{"exception_message": "Unauthorized"}', {}, "HTTP 401: Unauthorized"),
        (422, b'{"detail": ["one", "two"]}', {}, "HTTP 422: one; two"),
        (500, b"x" * 1000, {}, "The cause is in the MLflow server's log"),
    ],
)
def test_says_what_and_what_to_do(stub: Any, status: int, body: bytes, headers: dict[str, str], message: str) -> None:
    stub.answer = lambda handler, _: say(handler, status, body, **headers)
    with pytest.raises(RequestError) as caught:
        client(stub.url, retries=0).json("GET", "/api")
    assert message in str(caught.value) and "topsecret" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_gateway_without_a_server_is_unreachable(stub: Any) -> None:
    stub.answer = lambda handler, body: say(handler, 404, b"404 page not found")
    with pytest.raises(RequestError) as caught:
        client(stub.url).json("GET", "/api")
    assert caught.value.unreachable
    stub.answer = lambda handler, body: say(handler, 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "x"}')
    with pytest.raises(RequestError) as caught:
        client(stub.url).json("GET", "/api")
    assert not caught.value.unreachable


def test_upload_is_streamed_and_repeated_from_the_start(stub: Any) -> None:
    data = b"0123456789" * 300_000
    stub.answer = lambda handler, body: say(handler, 503 if len(stub.requests) == 1 else 200, b"")
    client(stub.url).upload("/file", lambda: io.BytesIO(data), len(data))
    assert [hashlib.sha256(body).digest() for *_, body in stub.requests] == [hashlib.sha256(data).digest()] * 2
    assert stub.requests[0][2]["Content-Length"] == str(len(data))


def test_upload_that_is_refused_early_says_why() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        connection, _ = listener.accept()
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):  # a reset would take the answer with it
            time.monotonic()
        connection.close()

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    size = 20_000_000
    with pytest.raises(RequestError, match=r"HTTP 413: big. A proxy before MLflow"):
        client(f"http://127.0.0.1:{listener.getsockname()[1]}").upload("/f", lambda: io.BytesIO(bytes(size)), size)
    listener.close()


def test_download_that_ends_early(stub: Any) -> None:
    def half(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        say(handler, 200, b"abc", length=10)
        handler.close_connection = True

    stub.answer = half
    with pytest.raises(RequestError, match=r"broke off"), client(stub.url).download("/f") as chunks:
        list(chunks)


def test_download(stub: Any) -> None:
    stub.answer = lambda handler, body: say(handler, 200, b"abc" * 1_000_000)
    http = client(stub.url)
    for _ in range(2):
        with http.download("/f") as chunks:
            assert b"".join(chunks) == b"abc" * 1_000_000


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server with a certificate of its own for mlflow.localhost."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
         "-subj", "/CN=mlflow.localhost", "-addext", "subjectAltName=DNS:mlflow.localhost"],
        check=True, capture_output=True,
    )  # fmt: skip

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            say(self, 200, b'{"secure": true}')

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"mlflow.localhost:{server.server_address[1]}", certificate
    server.shutdown()
    server.server_close()


def test_certificates_are_verified(secure: tuple[str, Path]) -> None:
    address, certificate = secure
    assert client(f"https://{address}", ca_path=str(certificate)).json("GET", "/") == {"secure": True}
    assert client(f"https://{address}", validate_certs=False).json("GET", "/") == {"secure": True}
    with pytest.raises(RequestError, match=r"certificate is refused.*ca_path") as caught:
        client(f"https://{address}").json("GET", "/")
    assert not caught.value.unreachable
    other = address.replace("mlflow.", "other.")
    with pytest.raises(RequestError, match=r"certificate is refused"):
        client(f"https://{other}", ca_path=str(certificate)).json("GET", "/")
    named = client(f"https://{other}", ca_path=str(certificate), host_header="mlflow.localhost")
    assert named.json("GET", "/") == {"secure": True}


def test_a_missing_ca_file_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^ca_path: "):
        client("https://x", ca_path=str(tmp_path / "none.pem"))
