# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A registry that is restarted ends no run; one that says no is believed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlops_runtime.contracts.mlflow import MlflowError
from mlops_runtime.contracts.settings import Tracking
from mlops_runtime.pipelines.access import PatientMlflow
from tenacity import stop_after_attempt, wait_none

Serve = Callable[[list[int]], AbstractContextManager[tuple[PatientMlflow, list[str]]]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """A registry that answers with these statuses, one after the other, and what it was asked."""
    for name in ("_json", "get", "save", "put", "delete"):
        patience = getattr(PatientMlflow, name).retry
        monkeypatch.setattr(patience, "wait", wait_none())
        monkeypatch.setattr(patience, "stop", stop_after_attempt(4))

    @contextmanager
    def started(statuses: list[int]) -> Iterator[tuple[PatientMlflow, list[str]]]:
        asked: list[str] = []

        class Registry(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.command)
                body = b'{"registered_models": [{"name": "m"}]}'
                self.send_response(statuses[len(asked) - 1])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                # Half an answer is none: the connection ends before the rest of it.
                self.wfile.write(body[:9] if statuses[len(asked) - 1] == 206 else body)
                self.close_connection = True

            do_PUT = do_DELETE = do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Registry)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield PatientMlflow(Tracking(f"http://127.0.0.1:{server.server_port}")), asked
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    return started


def test_what_passes_is_asked_again(serve: Serve, tmp_path: Path) -> None:
    with serve([503, 500, 206, 200]) as (mlflow, asked):
        assert [model["name"] for model in mlflow.registered_models()] == ["m"]
    assert asked == ["GET"] * 4
    with serve([502, 206, 200]) as (mlflow, asked):
        mlflow.save("a/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes().endswith(b"]}") and len(asked) == 3
    with serve([503, 200]) as (mlflow, asked):
        mlflow.put("a/file", b"content")
    assert asked == ["PUT"] * 2


def test_a_no_is_a_no(serve: Serve) -> None:
    with serve([404]) as (mlflow, asked), pytest.raises(MlflowError, match="404"):
        mlflow.get("a/file")
    assert asked == ["GET"]


def test_patience_has_an_end(serve: Serve) -> None:
    with serve([503] * 9) as (mlflow, asked), pytest.raises(MlflowError, match="503"):
        mlflow.api("registered-models/search")
    assert len(asked) == 4
