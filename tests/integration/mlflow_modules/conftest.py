# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A real MLflow server with basic authentication and proxied artefacts, and a proxy for faults."""

from __future__ import annotations

import contextlib
import http.client
import importlib
import json
import signal
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT / ".collections") not in sys.path:
    sys.path.insert(0, str(ROOT / ".collections"))

if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))

from mlflow_server import ADMIN, HALF, PASSWORD, REFUSE, SLOW, Call, Proxy, Server  # noqa: E402

TRAIN = """
import sys, warnings
warnings.simplefilter("ignore")
import mlflow.sklearn, numpy
from sklearn.linear_model import LogisticRegression
rows = numpy.random.default_rng(0).random((60, 3))
model = LogisticRegression().fit(rows, rows[:, 0] > 0.5)
mlflow.sklearn.save_model(model, sys.argv[1], pip_requirements=["scikit-learn"], input_example=rows[:2])
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    hosts = "127.0.0.1:*,mlflow.localhost:*,named.example"
    with Server.started(tmp_path_factory.mktemp("mlflow"), allowed_hosts=hosts) as running:
        yield running


def fitted(folder: Path, *detectors: str) -> None:
    """What has the form of fitted detectors."""
    folder.mkdir(exist_ok=True)
    for name in detectors:
        (folder / f"{name}.npz").write_bytes(f"{name} of {folder}".encode())
    (folder / "manifest.json").write_text(
        json.dumps({"format": 1, "detectors": [{"name": name} for name in detectors]})
    )


@pytest.fixture(scope="session")
def trained(server: Server) -> Path:
    """A real model, saved by MLflow, with its data and a directory as fitted detectors leave it."""
    folder = server.directory / "phishing"
    folder.mkdir()
    server.python(TRAIN, str(folder / "model"))
    (folder / "train.csv").write_text("url_length,is_phishing\n0.4,0\n0.7,1\n")
    (folder / "test.csv").write_text("url_length,is_phishing\n0.1,0\n")
    fitted(folder / "drift", "ewma")
    return folder


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A directory that passes for a model, of a few files."""
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text(f"flavors: {{}}\nmodel_uuid: {tmp_path.name}\n")
    for number in range(6):
        (folder / "data" / f"{number} ä.bin").write_bytes(f"{tmp_path.name}{number}".encode() * 50)
    return folder


@pytest.fixture
def call(server: Server, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a module as Ansible does, in this process."""

    def run(name: str, /, *, check: bool = False, **args: Any) -> dict[str, Any]:
        given = {"tracking_uri": server.uri, "username": ADMIN, "password": PASSWORD}
        given |= {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": str(server.directory)}
        module = importlib.import_module(f"ansible_collections.mlops.onprem.plugins.modules.{name}")
        capsys.readouterr()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with patch_module_args(given | args), pytest.raises(SystemExit):
                module.main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert PASSWORD not in json.dumps(result | {"invocation": None})
        return result

    return run


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    state = Proxy(0)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.seen.append((self.command, self.path))
            fault = state.fault(self.command, self.path, state.count(self.command, self.path))
            if fault == REFUSE:
                self.close_connection = True
                return
            if isinstance(fault, int):
                self.answer(fault, b'{"error_code": "INTERNAL_ERROR", "message": "the disk is full"}')
                return
            if state.alter and self.command == "PUT":
                body = b"32\r\n" + body[4:]
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            own = ("host", "connection", "content-length")
            headers = {key: value for key, value in self.headers.items() if key.lower() not in own}
            connection.request(
                self.command, self.path, body=body, headers=headers | {"Host": f"127.0.0.1:{server.port}"}
            )
            answer = connection.getresponse()
            data = answer.read()
            connection.close()
            if fault == SLOW:
                threading.Event().wait(9)
            with contextlib.suppress(OSError):
                self.answer(answer.status, data, cut=fault == HALF)

        def answer(self, status: int, data: bytes, *, cut: bool = False) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut else data)
            self.close_connection = self.close_connection or cut

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

        def log_message(self, format: str, *args: object) -> None:
            pass

    stand = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand.daemon_threads = True
    state.port = stand.server_address[1]
    threading.Thread(target=stand.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield state
    stand.shutdown()
    stand.server_close()
