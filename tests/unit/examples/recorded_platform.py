# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A platform's gateway with recorded answers: a model that speaks Seldon's protocol, and Prometheus behind its login.

with RecordedPlatform.started() as platform:
    ... f"http://platform.test:{platform.port}", reached at 127.0.0.1 ...
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

DOMAIN = "platform.test"
PASSWORD = "of-prometheus"
CLASSES = ["brickface", "cement", "foliage", "grass", "path", "sky", "window"]
BY_DAY = [0.0, 0.05, 0.0, 0.0, 0.0, 0.95, 0.0]
AT_DUSK = [0.0, 0.4, 0.1, 0.0, 0.1, 0.0, 0.4]
DARK = 15
"""Of an intensity: what is below is answered as at dusk."""


def reading(metric: str, value: float, feature: str, detector: str = "ewma") -> dict[str, Any]:
    labels = {"__name__": metric, "model": "landcover", "version": "3", "detector": detector, "feature": feature}
    return {"metric": labels, "value": [1796000000.0, str(value)]}


READINGS = {
    'mlops_drift_score_ratio{model="landcover"}': [
        reading("mlops_drift_score_ratio", 0.31, "hue-mean"),
        reading("mlops_drift_score_ratio", 2.75, "value-mean"),
        reading("mlops_drift_score_ratio", 0.9, "", "rff"),
    ],
    'mlops_drift_detected{model="landcover"}': [
        reading("mlops_drift_detected", 0, "hue-mean"),
        reading("mlops_drift_detected", 1, "value-mean"),
        reading("mlops_drift_detected", 0, "", "rff"),
    ],
}


class RecordedPlatform:
    """`asked`, `told`: the bodies of requests for predictions and of feedback."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []
        self.readings: dict[str, list[dict[str, Any]]] = dict(READINGS)
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                login = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
                if self.headers["Host"] != f"prometheus.{DOMAIN}:{platform.port}":
                    self._answer(404, {"error": f"no such host {self.headers['Host']}"})
                elif self.headers["Authorization"] != login:
                    self._answer(401, {"error": "Unauthorized"})
                else:
                    query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["query"][0]
                    found = {"resultType": "vector", "result": platform.readings.get(query, [])}
                    self._answer(200, {"status": "success", "data": found})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                path = f"/seldon/mlops/landcover/api/v1.0/{self.path.rpartition('/')[2]}"
                meta = {"requestPath": {"landcover": "model-0123456789ab:3"}}
                if self.headers["Host"] != f"{DOMAIN}:{platform.port}" or self.path != path:
                    self._answer(404, {"error": f"no such route {self.path}"})
                elif self.path.endswith("/feedback"):
                    platform.told.append(body)
                    self._answer(200, {"meta": meta, "data": {"tensor": {"shape": [0]}}})
                elif len(body["data"]["ndarray"][0]) != 18:
                    info = {"status": 1, "info": "the model takes 18 columns", "code": -1}
                    self._answer(400, {"status": info | {"reason": "MICROSERVICE_BAD_DATA"}})
                else:
                    platform.asked.append(body)
                    row = dict(zip(body["data"]["names"], body["data"]["ndarray"][0], strict=True))
                    chances = AT_DUSK if row["intensity-mean"] < DARK else BY_DAY
                    answer = {"data": {"ndarray": [chances], "names": CLASSES}, "meta": meta}
                    self._answer(200, answer, {"Seldon-Puid": f"id-{len(platform.asked)}"})

            def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://{DOMAIN}:{self.port}"

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator[Self]:
        platform = cls()
        thread = threading.Thread(target=platform._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield platform
        finally:
            platform._server.shutdown()
            platform._server.server_close()
            thread.join()
