# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Health, metrics and what else a service tells by HTTP, on a thread beside its loop."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

Page = tuple[int, str, bytes]
"""Status, content type, body."""


class Web:
    """`/metrics` of a collector, and the other pages by path. `port` 0: any that is free."""

    def __init__(self, collector: Collector, pages: Mapping[str, Callable[[], Page]], port: int) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(collector)
        known = {"/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest(registry)), **pages}
        unknown = as_json(404, {"error": f"there are {', '.join(known)}"})

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_GET(self) -> None:
                page = known.get(self.path.partition("?")[0])
                code, kind, body = page() if page else unknown
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


def as_json(code: int, document: Mapping[str, Any]) -> Page:
    return code, "application/json", json.dumps(document).encode()
