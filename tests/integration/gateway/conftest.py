# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The gateway as its role declares it, in one container on loopback, with servers and an agent of the test's own."""

from __future__ import annotations

import http.client
import http.server
import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest

ROOT = Path(__file__).resolve().parents[3]
for place in ("tests/integration/agent", "tests/integration/gateway", "plugins/module_utils", "runtime/src"):
    sys.path.insert(0, str(ROOT / place))

from mlops_runtime.agent.traefik import Route, Routed, configuration  # noqa: E402
from stand import declared  # noqa: E402

ADDRESSES = {":8080": "web", ":8443": "websecure", ":8082": "internal"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Agent:
    """Tells the gateway what the test wants; `code` other than 200 stands for one that can't answer."""

    def __init__(self, tls: bool) -> None:
        self.routed: list[Routed] = []
        self.code = 200
        self.tls = tls
        agent = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                document = configuration(agent.routed, "localhost", ["127.0.0.1", "ml.test"], tls)
                body = json.dumps(document).encode() if agent.code == 200 else b""
                self.send_response(agent.code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Gateway:
    def __init__(self, container: Any, agent: Agent, ports: dict[str, int]) -> None:
        self.container = container
        self.agent = agent
        self._changes = 0
        self.http, self.https, self.internal = (ports[name] for name in ("web", "websecure", "internal"))

    def route(self, *routed: Routed) -> None:
        """Tells the gateway these routes and waits until it has them."""
        self._changes += 1
        marker = f"marker{self._changes}.localhost"
        self.agent.routed = [*routed, Routed("marker", (Route("ui", 1, host=marker),), ())]
        until = time.monotonic() + 20
        while self._code(marker) != 503:  # A route without a server is known, where an unknown one is a 404.
            assert time.monotonic() < until, self.container.logs().decode()[-2000:]
            time.sleep(0.05)

    def _code(self, host: str) -> int:
        tls = self.agent.tls
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        port = self.https if tls else self.http
        connection = (
            http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
            if tls
            else http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        )
        try:
            connection.request("GET", "/", headers={"Host": host})
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def memory(self) -> int:
        """Bytes that the gateway's processes hold for themselves."""
        stats = self.container.stats(stream=False)["memory_stats"]
        return int(stats["stats"].get("rss", stats["stats"].get("anon", 0)))


@contextmanager
def running(folder: Path, **variables: Any) -> Iterator[Gateway]:
    found = declared(folder, **variables)
    workload = next(item for item in found["workloads"] if item["name"] == "gateway")
    tls = bool(variables.get("gateway_tls"))
    agent = Agent(tls)
    ports = {name: free_port() for name in ADDRESSES.values()}
    volumes = {}
    for number, file in enumerate([*workload["configs"], *workload["secrets"]]):
        text = file.get("content") or found["secret_values"][file["name"]]
        for address, name in ADDRESSES.items():
            text = text.replace(f"address: {address}\n", f"address: 127.0.0.1:{ports[name]}\n")
        text = text.replace("http://agent:8080/", f"http://127.0.0.1:{agent.port}/").replace(
            ":18443", f":{ports['websecure']}"
        )
        source = folder / f"file{number}"
        source.write_text(text)
        source.chmod(0o444)
        volumes[str(source)] = {"bind": file["path"], "mode": "ro"}
    client = docker.from_env(timeout=60)
    container = client.containers.run(
        found["images"]["traefik"],
        workload["args"],
        environment=workload["env"],
        user=workload["user"],
        network_mode="host",
        read_only=True,
        cap_drop=["ALL"],
        mem_limit="512m",
        volumes=volumes,
        detach=True,
        name=f"t-agent-gateway-{free_port()}",
    )
    try:
        yield Gateway(container, agent, ports)
    finally:
        container.remove(force=True)
        agent.stop()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    folder.chmod(0o755)
    with running(folder) as gateway:
        gateway.route()
        yield gateway


class Server:
    """An HTTP server on loopback that tells what it was asked."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self.first_byte: float | None = None
        self.received = 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path.startswith("/stream"):
                    self._stream()
                    return
                self._read()
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = {"server": f"{address}", "path": self.path, "headers": headers, "received": server.received}
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PUT = do_GET

            def _read(self) -> None:
                server.received, server.first_byte = 0, None
                if self.headers.get("Transfer-Encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        self._take(size)
                        self.rfile.readline()
                    self.rfile.readline()
                elif length := int(self.headers.get("Content-Length", 0)):
                    self._take(length)

            def _take(self, size: int) -> None:
                while size:
                    chunk = self.rfile.read(min(size, 2**16))
                    if not chunk:
                        raise ConnectionError("cut off")
                    server.first_byte = server.first_byte or time.monotonic()
                    server.received += len(chunk)
                    size -= len(chunk)

            def _stream(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for number in range(3):
                    self.wfile.write(b"9\r\ndata: %d\n\n\r\n" % number)
                    self.wfile.flush()
                    time.sleep(0.5)
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *args: Any) -> None:
                pass

        self._server = _Server((address, port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The gateway may close a connection at any time: no news."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def routed(port: int, *addresses: str, **more: Any) -> Routed:
    return Routed("echo", (Route("ui", port, host="echo.localhost", **more),), addresses or ("127.0.0.1",))
