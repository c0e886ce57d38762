# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils import _http
from ansible_collections.mlops.onprem.plugins.module_utils._errors import RequestError
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.arguments import client_for, connection_options
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.client import (
    BUSY,
    NO_ROUTE,
    PrefectClient,
    busy,
    path,
)


class Http:
    """Answers in turn; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.bodies: list[Any] = []

    def json(self, method: str, where: str, *, body: Any = None, repeat: bool | None = None) -> Any:
        self.bodies.append(body)
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def address(self, where: str) -> str:
        return f"http://x{where}"


def refusal(status: int, message: str, **more: Any) -> RequestError:
    return RequestError("POST", "http://x", message, status=status, **more)


def at(http: Http) -> PrefectClient:
    return PrefectClient(http)  # type: ignore[arg-type]


def test_a_busy_database_is_told_from_what_may_have_been_done() -> None:
    assert busy(refusal(503, BUSY))
    for error in (refusal(503, "no upstream"), refusal(500, "x"), refusal(409, BUSY)):
        assert not busy(error)


def test_a_busy_database_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
    answers, bodies = [503, 503, 201], []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status = answers.pop(0)
            said = b"{}" if status == 201 else json.dumps({"exception_message": BUSY}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = dict.fromkeys(connection_options()) | {"validate_certs": True, "timeout": 10.0}
        prefect = client_for(options | {"api_url": f"http://127.0.0.1:{server.server_port}/api"})
        prefect.create_schedules("1", [{"a": 1}])
        assert bodies == [[{"a": 1}]] * 3
        answers += [503] * 9
        with pytest.raises(RequestError, match=BUSY):
            prefect.create_work_pool({})
        assert len(bodies) == 3 + 4
        prefect.http.close()
        server.shutdown()


def test_a_thing_that_is_not_there_and_a_path_that_is_not() -> None:
    assert at(Http(refusal(404, "Deployment not found"))).find_deployment("f", "d") is None
    for error in (refusal(404, NO_ROUTE), refusal(404, "404 page not found", unreachable=True)):
        with pytest.raises(RequestError):
            at(Http(error)).find_deployment("f", "d")
        with pytest.raises(RequestError):
            at(Http(error)).delete_deployment("1")
    at(Http(refusal(404, "Deployment not found"))).delete_deployment("1")


def test_pages_until_the_end_or_the_limit() -> None:
    full = [{"id": str(number)} for number in range(200)]
    http = Http(full, [{"id": "200"}])
    assert len(at(http).work_pools()) == 201
    assert [(body["offset"], body["limit"]) for body in http.bodies] == [(0, 200), (200, 200)]
    http = Http(full, full[:50])
    assert len(at(http).flow_runs({}, 250)) == 250
    assert [(body["offset"], body["limit"]) for body in http.bodies] == [(0, 200), (200, 50)]


def test_another_server() -> None:
    with pytest.raises(RequestError, match="of another form than Prefect's"):
        at(Http({"detail": "hello"})).work_pools()
    with pytest.raises(RequestError, match="of another form than Prefect's"):
        at(Http(["hello"])).find_work_pool("p")


def test_names_are_quoted() -> None:
    assert path("flows", "a b/ä?") == "/flows/a%20b%2F%C3%A4%3F"
