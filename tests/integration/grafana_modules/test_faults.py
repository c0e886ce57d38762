# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever goes wrong on the way: the module says what and where, and the next run makes it good."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils import _http
from ansible_collections.mlops.onprem.plugins.module_utils._errors import RequestError
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.client import GrafanaClient
from grafana import PASSWORD, USER, Call, Grafana
from process import free_port

QUERY = {"ref_id": "A", "datasource_uid": "prometheus", "model": {"expr": "up"}}
MODULES: dict[str, dict[str, Any]] = {
    "alert_rule_group": {"folder": "F", "name": "g", "rules": [{"title": "t", "condition": "A", "data": [QUERY]}]},
    "alert_rule_group_info": {},
    "contact_point": {"name": "c", "integrations": [{"type": "webhook", "settings": {"url": "http://a/"}}]},
    "contact_point_info": {},
    "notification_policy": {"receiver": "c"},
    "notification_policy_info": {},
    "dashboard": {"dashboard": {"uid": "d", "title": "D"}},
    "dashboard_info": {},
    "data_source": {"name": "s", "type": "prometheus"},
    "data_source_info": {},
}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    pause = _http.time.sleep
    monkeypatch.setattr(_http.time, "sleep", lambda seconds: pause(min(seconds, 0.05)))


@contextlib.contextmanager
def answering(status: int, body: bytes = b"", *, silent: bool = False) -> Iterator[str]:
    """A server that answers everything alike, or takes requests and says nothing."""

    class Server(BaseHTTPRequestHandler):
        def do(self) -> None:
            if silent:
                over.wait(30)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = do

        def log_message(self, format: str, *args: Any) -> None: ...

    over = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            over.set()
            server.shutdown()


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_and_where(grafana: Grafana, call: Call, name: str) -> None:
    options = MODULES[name]
    wrong = call(name, **options, password="not the password")
    assert wrong["failed"] and "Grafana refuses these credentials" in wrong["msg"], wrong["msg"]
    assert "not the password" not in str(wrong) and wrong["request"]["status"] == 401
    lost = call(name, **options, grafana_url=f"{grafana.url}/elsewhere")
    assert lost["failed"] and "Is grafana_url the address of Grafana" in lost["msg"], lost["msg"]
    away = f"http://127.0.0.1:{free_port()}"
    refused = call(name, **options, grafana_url=away)
    assert refused["failed"] and f"{away}/" in refused["msg"] and "Connection refused" in refused["msg"]


@pytest.mark.parametrize("name", MODULES)
def test_servers_that_answer_nothing_useful(run: Call, name: str) -> None:
    options = MODULES[name] | {"username": USER, "password": PASSWORD}
    with answering(500, b'{"message": "the disk is full"}') as url:
        failed = run(name, **options, grafana_url=url)
        assert failed["failed"] and "HTTP 500: the disk is full" in failed["msg"], failed["msg"]
    with answering(503, b"<html><h1>no upstream</h1></html>") as url:
        failed = run(name, **options, grafana_url=url)
        assert failed["failed"] and "HTTP 503: no upstream" in failed["msg"] and "not ready" in failed["msg"]
    with answering(200, b"<html>hello</html>") as url:
        failed = run(name, **options, grafana_url=url)
        assert failed["failed"] and "Is grafana_url the address of Grafana" in failed["msg"], failed["msg"]
    with answering(200, silent=True) as url:
        failed = run(name, **options, grafana_url=url, timeout=0.05)
        assert failed["failed"] and "no complete answer within 0.05 s" in failed["msg"], failed["msg"]


@pytest.mark.parametrize("name", MODULES)
def test_check_mode_before_there_is_a_server(run: Call, name: str) -> None:
    away: dict[str, Any] = {"grafana_url": f"http://127.0.0.1:{free_port()}", **MODULES[name]}
    assert run(name, check=True, **away)["failed"]
    assert run(name, unreachable_in_check="ignore", **away)["failed"]  # only in check mode
    result = run(name, check=True, unreachable_in_check="ignore", **away)
    assert not result.get("failed") and result["reachable"] is False
    assert result["changed"] is not name.endswith("_info")
    for state in {"absent", "pruned"} if "keep" in result["invocation"]["module_args"] else {"absent"}:
        if "state" in result["invocation"]["module_args"]:
            gone = away | {"state": state, "folder": "F", "keep": []} if state == "pruned" else away | {"state": state}
            absent = run(
                name, check=True, unreachable_in_check="ignore", **gone | ({"uid": "d"} if name == "dashboard" else {})
            )
            assert not absent["changed"] and absent["reachable"] is False
    # The authority of a gateway that is still to be set up isn't there either.
    secure = away | {"grafana_url": away["grafana_url"].replace("http:", "https:"), "ca_path": "/nowhere/ca.pem"}
    assert "ca_path" in run(name, check=True, **secure)["msg"]
    assert run(name, check=True, unreachable_in_check="ignore", **secure)["reachable"] is False


def test_a_service_account_and_an_organisation(grafana: Grafana, run: Call, call: Call) -> None:
    account = grafana.api("POST", "/api/serviceaccounts", {"name": "ansible", "role": "Admin"})
    key = grafana.api("POST", f"/api/serviceaccounts/{account['id']}/tokens", {"name": "one"})["key"]
    options: dict[str, Any] = {"grafana_url": grafana.url, "name": "by token", "type": "prometheus"}
    made = run("data_source", **options, token=key)
    assert made["changed"] and not made.get("failed") and key not in str(made)
    assert not run("data_source", **options, token=key)["changed"]
    wrong = run("data_source", **options, token="glsa_wrong")
    assert wrong["failed"] and wrong["request"]["status"] == 401
    both = run("data_source", **options, token=key, username="admin")
    assert both["failed"] and "mutually exclusive" in both["msg"]
    viewer = grafana.api("POST", "/api/serviceaccounts", {"name": "viewer", "role": "Viewer"})
    weak = grafana.api("POST", f"/api/serviceaccounts/{viewer['id']}/tokens", {"name": "two"})["key"]
    refused = run("data_source", **options | {"name": "by viewer"}, token=weak)
    assert refused["failed"] and refused["request"]["status"] == 403 and "needs the role Admin" in refused["msg"]
    other = grafana.api("POST", "/api/orgs", {"name": "other"})["orgId"]
    assert call("data_source", name="by token", type="prometheus", org_id=other)["changed"]
    assert [one["name"] for one in call("data_source_info", org_id=other)["data_sources"]] == ["by token"]
    assert "org_id: must be 1 or more" in call("data_source_info", org_id=0)["msg"]


def test_what_is_half_made_is_completed(
    grafana: Grafana, call: Call, converge: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any, **options: Any) -> None:
        raise RequestError("PUT", "http://x", "the disk is full", status=500)

    rules = [{"title": f"half {uid}", "uid": f"half-{uid}", "condition": "A", "data": [QUERY]} for uid in "ab"]
    options: dict[str, Any] = {"folder": "Half", "name": "half", "interval": "2m", "rules": rules}
    with monkeypatch.context() as broken:
        broken.setattr(GrafanaClient, "write_rule_group", fails)
        failed = call("alert_rule_group", **options)
        assert failed["failed"] and "the disk is full" in failed["msg"]
    assert converge("alert_rule_group", **options)["changed"]
    point = {"name": "half", "integrations": [{"type": "webhook", "settings": {"url": f"http://{n}/"}} for n in "ab"]}
    call("contact_point", **point)
    with monkeypatch.context() as broken:
        broken.setattr(GrafanaClient, "delete_integration", fails)
        assert call("contact_point", **point, locked=False)["failed"]
    made = converge("contact_point", **point, locked=False)
    assert made["changed"] and len(made["contact_point"]["integrations"]) == 2
