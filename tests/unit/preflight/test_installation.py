# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._errors import RequestError
from ansible_collections.mlops.onprem.plugins.module_utils._host import installation

MANAGER = {"Swarm": {"LocalNodeState": "active", "ControlAvailable": True}}


class Engine:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: dict[str, str] = {}

    def call(self, method: str, path: str, **query: str) -> Any:
        self.asked = {"path": path, **query}
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_services_of_the_name() -> None:
    engine: Any = Engine([{}, {}])
    assert installation.on_swarm(engine, MANAGER, "mlops") == 2
    assert json.loads(engine.asked["filters"]) == {"label": ["mlops.namespace=mlops"]}
    assert installation.on_swarm(engine, {"Swarm": {"LocalNodeState": "active"}}, "mlops") == 0
    assert installation.on_swarm(engine, {}, "mlops") == 0
    refusing: Any = Engine(RequestError("GET", "/services", "no leader"))
    assert installation.on_swarm(refusing, MANAGER, "mlops") == 0


def test_the_record(tmp_path: Path) -> None:
    assert installation.noted("mlops", tmp_path) == ""
    for name, text in {"mlops": '{"name": "mlops", "target": "swarm"}', "torn": "{", "old": "[]"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "installation.json").write_text(text)
    assert installation.noted("mlops", tmp_path) == "swarm"
    assert installation.noted("torn", tmp_path) == installation.noted("old", tmp_path) == ""
    assert installation.others("mlops", tmp_path) == ["old", "torn"]


@pytest.mark.parametrize(
    ("target", "found", "said"),
    [
        ("kubernetes", {"services": 7}, "runs on this host's Swarm (7 services)"),
        ("swarm", {"cluster": "https://k:6443"}, "runs on the Kubernetes cluster at https://k:6443"),
        ("swarm", {"record": "kubernetes"}, "was installed with the target kubernetes (/etc/mlops/installation.json)"),
        ("kubernetes", {"record": "swarm"}, "was installed with the target swarm"),
    ],
)
def test_the_other_target_is_refused(target: str, found: dict[str, Any], said: str) -> None:
    text = installation.conflict("mlops", target, **{"services": 0, "cluster": "", "record": "", **found})
    assert text.startswith(f"mlops_target: is {target}, ")
    assert said in text
    assert "docs/operations.md (From one target to the other)" in text


def test_the_same_target_is_not() -> None:
    assert installation.conflict("mlops", "swarm", services=7, cluster="", record="swarm") == ""
    assert installation.conflict("mlops", "kubernetes", services=0, cluster="https://k", record="kubernetes") == ""
    assert installation.conflict("mlops", "kubernetes", services=0, cluster="", record="") == ""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig of an API server that has one namespace of ours and one of somebody else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            labels = {"/api/v1/namespaces/mlops": {"mlops.onprem/namespace": "mlops"}, "/api/v1/namespaces/shop": {}}
            found = self.path in labels
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"metadata": {"labels": labels.get(self.path, {})}}).encode())

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    yield path
    server.shutdown()
    server.server_close()


def test_our_namespace_in_a_cluster(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert installation.on_kubernetes("mlops", {"kubeconfig": str(cluster)}).startswith("http://127.0.0.1:")
    assert installation.on_kubernetes("shop", {"kubeconfig": str(cluster)}) == ""
    assert installation.on_kubernetes("nobody", {"kubeconfig": str(cluster)}) == ""
    monkeypatch.setenv("KUBECONFIG", str(cluster))
    assert installation.on_kubernetes("mlops", {}) != ""


def test_a_cluster_that_is_nobodys_concern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert installation.on_kubernetes("mlops", {}) == ""
    (tmp_path / "broken").write_text("clusters: [")
    assert installation.on_kubernetes("mlops", {"kubeconfig": str(tmp_path / "broken")}) == ""
