# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Health, metrics and state by HTTP, on a thread beside the loop."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from mlops_runtime.drift.service import health
from mlops_runtime.drift.service.catalogue import Catalogue
from mlops_runtime.drift.service.loop import Loop
from mlops_runtime.drift.service.metrics import Collector

log = logging.getLogger(__name__)


class Web:
    """`port` 0: any that is free."""

    def __init__(self, loop: Loop, catalogue: Catalogue, lag: int, port: int) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Collector(loop))

        def answer(path: str) -> tuple[int, str, bytes]:
            if path == "/metrics":
                return 200, CONTENT_TYPE_LATEST, generate_latest(registry)
            if path == "/health/live":
                return _json(*health.live(loop))
            if path == "/health/ready":
                return _json(*health.ready(loop, catalogue, lag))
            if path == "/state":
                return _json(200, health.state(loop, catalogue))
            return _json(404, {"error": "there are /metrics, /health/live, /health/ready and /state"})

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_GET(self) -> None:
                code, kind, body = answer(self.path.partition("?")[0])
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                log.debug(format, *args)

        self._server = ThreadingHTTPServer(("0.0.0.0", port), Handler)  # noqa: S104 a container's only interface
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="web", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _json(code: int, document: dict[str, Any]) -> tuple[int, str, bytes]:
    return code, "application/json", json.dumps(document).encode()
