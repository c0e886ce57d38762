# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever goes wrong on the way: the module says what and where, and the next run makes it good."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils import _http
from ansible_collections.mlops.onprem.plugins.module_utils._errors import RequestError
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.client import PrefectClient
from prefect import Call, Prefect
from process import free_port

MODULES: dict[str, dict[str, Any]] = {
    "prefect_work_pool": {"name": "x", "type": "process", "job_variables": {"a": 1}, "queues": [{"name": "q"}]},
    "prefect_work_pool_info": {},
    "prefect_deployment": {"flow": "f", "name": "d", "work_pool": "x", "schedules": [{"cron": "0 1 * * *"}]},
    "prefect_deployment_info": {"flow": "f"},
    "prefect_flow_run": {"flow": "f", "deployment": "d", "idempotency_key": "k", "parameters": {"a": 1}},
    "prefect_flow_run_info": {"flow": "f"},
    "prefect_automation": {"name": "a", "trigger": {"type": "event"}, "actions": [{"type": "do-nothing"}]},
    "prefect_automation_info": {},
}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    pause = _http.time.sleep
    monkeypatch.setattr(_http.time, "sleep", lambda seconds: pause(min(seconds, 0.05)))


def nowhere() -> str:
    """An address where nothing listens."""
    return f"http://127.0.0.1:{free_port()}/api"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_and_where(prefect: Prefect, call: Call, name: str) -> None:
    options = MODULES[name]
    wrong = call(name, **options, auth_string="admin:not the password")
    assert wrong["failed"] and "HTTP 401: Unauthorized. Prefect refuses auth_string" in wrong["msg"]
    assert "not the password" not in str(wrong) and wrong["request"]["status"] == 401
    formless = call(name, **options, auth_string="formless-secret")
    assert formless["failed"] and "auth_string: must have the form user:password" in formless["msg"]
    away = nowhere()
    refused = call(name, **options, api_url=away)
    assert refused["failed"] and f"{away}/" in refused["msg"] and "Connection refused" in refused["msg"]
    for beside in ("", "/elsewhere", "/api/more"):
        lost = call(name, **options, api_url=prefect.url.removesuffix("/api") + beside)
        assert lost["failed"] and "It usually ends in /api" in lost["msg"], lost["msg"]


@pytest.mark.parametrize("name", MODULES)
def test_check_mode_before_there_is_a_server(call: Call, name: str) -> None:
    away: dict[str, Any] = {"api_url": nowhere(), **MODULES[name]}
    assert call(name, check=True, **away)["failed"]
    assert call(name, unreachable_in_check="ignore", **away)["failed"]  # only in check mode
    result = call(name, check=True, unreachable_in_check="ignore", **away)
    assert not result.get("failed") and result["reachable"] is False
    assert result["changed"] is not name.endswith("_info")
    if "state" in result["invocation"]["module_args"]:
        absent = call(name, check=True, unreachable_in_check="ignore", state="absent", **away)
        assert not absent["changed"] and absent["reachable"] is False
    # The authority of a gateway that is still to be set up isn't there either.
    secure = away | {"api_url": away["api_url"].replace("http:", "https:"), "ca_path": "/nowhere/ca.pem"}
    assert "ca_path" in call(name, check=True, **secure)["msg"]
    assert call(name, check=True, unreachable_in_check="ignore", **secure)["reachable"] is False


def test_what_is_half_made_is_completed(prefect: Prefect, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"flow": "half", "name": "made", "schedules": [{"cron": "0 1 * * *"}]}

    def fails(*arguments: Any) -> None:
        raise RequestError("POST", "http://x", "the disk is full", status=500)

    with monkeypatch.context() as broken:
        broken.setattr(PrefectClient, "create_schedules", fails)
        failed = call("prefect_deployment", **options)
        assert failed["failed"] and "the disk is full" in failed["msg"]
    assert prefect.api("GET", "/deployments/name/half/made")["schedules"] == []
    made = call("prefect_deployment", **options)
    assert made["changed"] and len(made["deployment"]["schedules"]) == 1


def test_a_refusal_shows_no_secret(call: Call) -> None:
    failed = call("prefect_work_pool", name="x", type="process", base_job_template={"password": "swordfish"})
    assert failed["failed"] and "HTTP 422" in failed["msg"] and "swordfish" not in str(failed)
