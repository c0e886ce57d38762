# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The runtime's source on the path, and a registry to fetch from: MLflow's answers, whole or broken in every way."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "runtime" / "src"))

PROXY = "/api/2.0/mlflow-artifacts/artifacts"
FILES = {"MLmodel": b"flavors: {}\n", "model.pkl": b"\x00" * 5000, "sub/data.bin": b"data"}


class StandIn:
    """What MLflow says of version 1 of the model `m`. `fault` breaks the next answers: a number is a status."""

    def __init__(self) -> None:
        self.files = dict(FILES)
        self.uri = "mlflow-artifacts:/1/models/m-1/artifacts"
        self.tags: dict[str, str] = {}
        self.faults: list[int | str] = []
        self.requests: list[str] = []
        self.authorization: str | None = None
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stand_in.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.requests.append(handler.path)
        self.authorization = handler.headers.get("Authorization")
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            handler.send_error(fault, "broken on purpose")
            return
        body = self._body(handler.path)
        if body is None:
            handler.send_error(404)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2] if fault == "half" else body)

    def _body(self, address: str) -> bytes | None:
        parts = urlsplit(address)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        root = "1/models/m-1/artifacts"
        if parts.path.endswith("/model-versions/get"):
            tags = [{"key": key, "value": value} for key, value in self.tags.items()]
            return json.dumps({"model_version": {"name": "m", "version": "1", "tags": tags}}).encode()
        if parts.path.endswith("/get-download-uri"):
            return json.dumps({"artifact_uri": self.uri}).encode()
        if parts.path.endswith("/logged-models/m-1"):
            info = {"artifact_uri": f"mlflow-artifacts:/{root}"}
            return json.dumps({"model": {"info": info}}).encode()
        if parts.path == PROXY:
            inside = query["path"].removeprefix(root).strip("/")
            return json.dumps({"files": self._list(inside)}).encode()
        if parts.path.startswith(PROXY):
            return self.files.get(unquote(parts.path).removeprefix(f"{PROXY}/{root}/"))
        return None

    def _list(self, directory: str) -> list[dict[str, Any]]:
        prefix = f"{directory}/" if directory else ""
        names: dict[str, bool] = {}
        for path in self.files:
            if path.startswith(prefix):
                name, _, rest = path.removeprefix(prefix).partition("/")
                names[name] = bool(rest)
        return [{"path": name, "is_dir": is_dir} for name, is_dir in names.items()]


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    server = StandIn()
    yield server
    server.close()
