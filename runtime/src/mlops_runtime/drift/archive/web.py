# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Health and metrics of the archive by HTTP, on a thread beside the loop."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from mlops_runtime.contracts import metrics
from mlops_runtime.drift.archive.loop import Loop

log = logging.getLogger(__name__)

_STUCK_SECONDS: Final = 900.0
"""Longer than a chunk takes to be written, however slow MLflow is."""


class Collector:
    """What prometheus-client asks at each scrape."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def collect(self) -> Iterator[Metric]:
        counts = dict(self._loop.counts)
        rows = CounterMetricFamily(metrics.ARCHIVE_ROWS, "Rows that were stored.", labels=["model", "kind"])
        unreadable = CounterMetricFamily(metrics.ARCHIVE_UNREADABLE, "Messages that are no record.", labels=["model"])
        size = CounterMetricFamily(metrics.ARCHIVE_BYTES, "Bytes that were stored.", labels=["model"])
        deleted = CounterMetricFamily(metrics.ARCHIVE_DELETED, "Files whose time was over.", labels=["model"])
        families = {"rows": rows, "unreadable": unreadable, "bytes": size, "deleted": deleted}
        for (name, *labels), count in counts.items():
            if name in families:
                families[name].add_metric(labels, count)
        yield from families.values()
        failures = counts.get(("failures",), 0)
        yield CounterMetricFamily(metrics.ARCHIVE_FAILURES, "MLflow didn't take or give something.", value=failures)
        age = GaugeMetricFamily(metrics.ARCHIVE_AGE_SECONDS, "Of the oldest that isn't stored.", labels=["model"])
        for model, seconds in self._loop.oldest().items():
            age.add_metric([model], seconds)
        yield age


def health(loop: Loop, path: str) -> tuple[int, dict[str, Any]]:
    """Live: a restart wouldn't help. Ready: MLflow and the broker do what they are asked for."""
    if path == "/health/live":
        age = time.monotonic() - loop.beat
        return (200 if age < _STUCK_SECONDS else 503), {"status": "ok" if age < _STUCK_SECONDS else "stuck", "age": age}
    return (503 if loop.problem else 200), {"status": "not ready" if loop.problem else "ready", "reason": loop.problem}


class Web:
    """`port` 0: any that is free."""

    def __init__(self, loop: Loop, port: int) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Collector(loop))

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                code, kind = 200, "application/json"
                if path == "/metrics":
                    kind, body = CONTENT_TYPE_LATEST, generate_latest(registry)
                elif path in ("/health/live", "/health/ready"):
                    code, document = health(loop, path)
                    body = json.dumps(document).encode()
                else:
                    code, body = 404, b'{"error": "there are /metrics, /health/live and /health/ready"}'
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
