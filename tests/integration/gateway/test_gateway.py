# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What passes through the gateway, and how: uploads, streams, gRPC, headers, dead servers."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from conftest import Gateway, Server, free_port, routed
from mlops_runtime.agent.traefik import Readiness, Route, Routed

MEGABYTE = 2**20


def ask(gateway: Gateway, path: str = "/", **options: Any) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.http, timeout=20)
    headers = {"Host": "echo.localhost", **options.pop("headers", {})}
    try:
        connection.request(options.pop("method", "GET"), path, headers=headers, **options)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body.startswith(b"{") else body
    finally:
        connection.close()


def inner(gateway: Gateway, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.internal, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def retries(gateway: Gateway) -> float:
    """How often a second server had to be tried, by the gateway's own count."""
    lines = inner(gateway, "/metrics")[1].decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("traefik_service_retries_total"))


def test_hosts_paths_and_prefixes(gateway: Gateway, server: Server) -> None:
    routes = (
        Route("ui", server.port, host="echo.localhost"),
        Route("rest", server.port, path="/seldon/ns/a", strip_path=True),
        Route("deep", server.port, path="/seldon/ns/a/deep"),
    )
    gateway.route(Routed("echo", routes, ("127.0.0.1",)))
    assert ask(gateway, "/x/y?z=1%2F2")[1]["path"] == "/x/y?z=1%2F2"
    for host in ("localhost", "127.0.0.1", f"127.0.0.1:{gateway.http}"):
        assert ask(gateway, "/seldon/ns/a/api/v1.0/predictions", headers={"Host": host})[1]["path"] == (
            "/api/v1.0/predictions"
        )
    assert ask(gateway, "/seldon/ns/a/deep/er", headers={"Host": "localhost"})[1]["path"] == "/seldon/ns/a/deep/er"
    assert ask(gateway, "/seldon/ns/ab", headers={"Host": "localhost"})[0] == 404
    assert ask(gateway, headers={"Host": "other.localhost"})[0] == 404


def test_headers_that_pass_for_the_gateways_own_are_not_believed(gateway: Gateway, server: Server) -> None:
    gateway.route(routed(server.port))
    forged = {
        "X-Forwarded-For": "1.2.3.4",
        "X-Forwarded-Proto": "https",
        "X-Real-Ip": "1.2.3.4",
        "X_Real_Ip": "1.2.3.4",
    }
    headers = ask(gateway, headers=forged)[1]["headers"]
    assert "1.2.3.4" not in json.dumps(headers)
    assert (headers["x-forwarded-proto"], headers["host"]) == ("http", "echo.localhost")


def test_a_large_upload_passes_unbuffered(gateway: Gateway, server: Server) -> None:
    gateway.route(routed(server.port))
    ask(gateway)
    before, begun, most = gateway.memory(), time.monotonic(), 0
    marks: dict[str, float] = {}

    def chunks() -> Iterator[bytes]:
        nonlocal most
        block = b"\0" * MEGABYTE
        for number in range(400):
            if number == 50:
                time.sleep(0.5)
                marks["first byte there"] = (server.first_byte or 1e12) - begun
                most = gateway.memory() - before
            yield block
        marks["last byte sent"] = time.monotonic() - begun

    status, answer = ask(gateway, method="PUT", body=chunks(), encode_chunked=True)
    assert (status, answer["received"]) == (200, 400 * MEGABYTE)
    assert marks["first byte there"] < marks["last byte sent"] / 2
    assert most < 30 * MEGABYTE
    print(
        f"BAR an upload of 400 MB: {400 / marks['last byte sent']:.0f} MB/s, "
        f"{max(most, 0) / MEGABYTE:.0f} MB held by the gateway meanwhile"
    )


def test_a_stream_arrives_as_it_is_sent(gateway: Gateway, server: Server) -> None:
    gateway.route(routed(server.port))
    connection = http.client.HTTPConnection("127.0.0.1", gateway.http, timeout=10)
    begun = time.monotonic()
    connection.request("GET", "/stream", headers={"Host": "echo.localhost"})
    answer = connection.getresponse()
    assert answer.read(9) == b"data: 0\n\n"
    assert time.monotonic() - begun < 0.4
    assert answer.read() == b"data: 1\n\ndata: 2\n\n"


def test_the_next_server_is_tried_where_one_refuses_or_is_silent(gateway: Gateway, server: Server) -> None:
    # 127.0.0.2 refuses; nothing answers in 240.0.0.0/4.
    for dead in ("127.0.0.2", "240.0.0.1"):
        gateway.route(routed(server.port, "127.0.0.1", dead))
        begun = time.monotonic()
        for method in ("GET", "POST"):
            assert [ask(gateway, method=method, body=b"x" * 1000)[0] for _ in range(6)] == [200] * 6
        assert time.monotonic() - begun < 15


def test_a_server_that_breaks_off_is_asked_no_second_time_unless_it_is_harmless(gateway: Gateway) -> None:
    """The connection ends in the middle of the request: GET is repeated elsewhere, POST is not."""
    port, other = free_port(), None
    hits: list[bytes] = []
    breaker = socket.create_server(("127.0.0.3", port))

    def run() -> None:
        while True:
            try:
                connection, _ = breaker.accept()
            except OSError:
                return
            hits.append(connection.recv(65536)[:4])
            connection.close()

    threading.Thread(target=run, daemon=True).start()
    other = Server("127.0.0.4", port)
    try:
        gateway.route(routed(port, "127.0.0.3", "127.0.0.4"))
        assert [ask(gateway)[0] for _ in range(6)] == [200] * 6
        hits.clear()
        codes = [ask(gateway, method="POST", body=b"{}")[0] for _ in range(6)]
        assert codes.count(502) == len(hits) == 3
    finally:
        breaker.close()
        other.stop()


def test_an_answer_that_nobody_was_there_is_tried_elsewhere_where_that_is_harmless(gateway: Gateway) -> None:
    """504, as the gateway says itself where a connection was closed and its address has gone silent."""
    port = free_port()
    hits: list[bytes] = []
    silent = socket.create_server(("127.0.0.3", port))

    def run() -> None:
        while True:
            try:
                connection, _ = silent.accept()
            except OSError:
                return
            with connection:
                hits.append(connection.recv(65536)[:4])
                connection.sendall(b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    threading.Thread(target=run, daemon=True).start()
    other = Server("127.0.0.4", port)
    try:
        gateway.route(routed(port, "127.0.0.3", "127.0.0.4"))
        assert [ask(gateway)[0] for _ in range(6)] == [200] * 6
        hits.clear()
        codes = [ask(gateway, method="POST", body=b"{}")[0] for _ in range(6)]
        assert codes.count(504) == len(hits) == 3
    finally:
        silent.close()
        other.stop()


def test_a_server_that_is_not_ready_gets_nothing_once_checked(gateway: Gateway, server: Server) -> None:
    gateway.route(
        Routed(
            "echo",
            (Route("ui", server.port, host="echo.localhost"),),
            ("127.0.0.1", "127.0.0.2"),
            Readiness(server.port, "/ready", interval=1, timeout=1),
        )
    )
    time.sleep(2.5)
    before = retries(gateway)
    assert [ask(gateway)[0] for _ in range(10)] == [200] * 10
    assert retries(gateway) == before


def test_no_server_means_503_and_the_route_stays(gateway: Gateway, server: Server) -> None:
    gateway.route(Routed("echo", (Route("ui", server.port, host="echo.localhost"),), ()))
    assert ask(gateway)[0] == 503


@pytest.mark.parametrize("code", [503, 500, 404])
def test_an_agent_that_cannot_answer_takes_no_route_away(gateway: Gateway, server: Server, code: int) -> None:
    gateway.route(routed(server.port))
    gateway.agent.code = code
    try:
        time.sleep(2.5)
        assert ask(gateway)[0] == 200
    finally:
        gateway.agent.code = 200
        gateway.route(routed(server.port))


class Echo(grpc.GenericRpcHandler):
    """Answers any unary call with its request, and any stream with each of its messages."""

    def service(self, details: Any) -> Any:
        if details.method.endswith("Stream"):
            return grpc.stream_stream_rpc_method_handler(lambda requests, _: requests)
        return grpc.unary_unary_rpc_method_handler(lambda request, _: request)


@pytest.fixture
def grpc_port() -> Iterator[int]:
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers([Echo()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


def grpc_routed(port: int) -> Routed:
    headers = {"seldon": "phishing", "namespace": "mlops"}
    return Routed(
        "model",
        (Route("grpc", port, path="/seldon.protos.Seldon", headers=headers, scheme="h2c"),),
        ("127.0.0.1",),
    )


METADATA = (("seldon", "phishing"), ("namespace", "mlops"))


def test_grpc_passes_on_the_same_port_chosen_by_its_metadata(gateway: Gateway, grpc_port: int) -> None:
    gateway.route(grpc_routed(grpc_port))
    with grpc.insecure_channel(
        f"127.0.0.1:{gateway.http}", options=[("grpc.max_receive_message_length", -1)]
    ) as channel:
        predict = channel.unary_unary("/seldon.protos.Seldon/Predict")
        assert predict(b"hello", metadata=METADATA, timeout=5) == b"hello"
        large = b"x" * (8 * MEGABYTE)
        assert predict(large, metadata=METADATA, timeout=20) == large
        stream = channel.stream_stream("/seldon.protos.Seldon/Stream")
        assert list(stream(iter([b"1", b"2"]), metadata=METADATA, timeout=5)) == [b"1", b"2"]
        for other in ((), (("seldon", "other"), ("namespace", "mlops"))):
            with pytest.raises(grpc.RpcError) as caught:
                predict(b"hello", metadata=other, timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_grpc_channel_outlives_a_change_of_the_routes(gateway: Gateway, grpc_port: int, server: Server) -> None:
    gateway.route(grpc_routed(grpc_port))
    with grpc.insecure_channel(f"127.0.0.1:{gateway.http}") as channel:
        predict = channel.unary_unary("/seldon.protos.Seldon/Predict")
        assert predict(b"1", metadata=METADATA, timeout=5) == b"1"
        gateway.route(grpc_routed(grpc_port), routed(server.port))
        assert predict(b"2", metadata=METADATA, timeout=5) == b"2"


def test_it_answers_for_itself_on_an_inner_port_alone(gateway: Gateway, server: Server) -> None:
    gateway.route(routed(server.port))
    ask(gateway)
    for path, code in (("/ping", 200), ("/metrics", 200), ("/dashboard/", 404), ("/api/rawdata", 404)):
        status, text = inner(gateway, path)
        assert status == code, path
        if path == "/metrics":
            assert b"traefik_service_requests_total" in text
        assert ask(gateway, path, headers={"Host": "localhost"})[0] == 404
