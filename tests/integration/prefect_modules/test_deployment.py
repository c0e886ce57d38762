# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments with their schedules, at a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from prefect import Call, Prefect


@pytest.fixture(scope="module", autouse=True)
def pools(prefect: Prefect) -> None:
    known = prefect.api("GET", "/collections/views/aggregate-worker-metadata")["prefect"]["process"]
    for name in ("here", "there"):
        body = {"name": name, "type": "process", "base_job_template": known["default_base_job_configuration"]}
        prefect.api("POST", "/work_pools/", body)
    for limit in ("shared", "other"):
        prefect.api("POST", "/v2/concurrency_limits/", {"name": limit, "limit": 5})


def held(prefect: Prefect, name: str) -> Any:
    return prefect.api("GET", f"/deployments/name/score/{name}")


SCHEMA = {"type": "object", "properties": {"rows": {"type": "integer", "title": "rows"}}}
WHOLE: dict[str, Any] = {
    "description": "scores",
    "version": "1",
    "tags": ["b", "a"],
    "paused": True,
    "entrypoint": "score.py:score",
    "path": "/srv/flows",
    "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": "/srv/flows"}}],
    "parameters": {"rows": 3},
    "parameter_openapi_schema": SCHEMA,
    "enforce_parameter_schema": True,
    "job_variables": {"env": {"LEVEL": "INFO"}},
    "work_pool": "here",
    "work_queue": "fast",
    "concurrency_limit": 2,
    "collision_strategy": "cancel_new",
    "grace_period": 120,
    "schedules": [
        {"cron": "0 4 * * *", "timezone": "Europe/Berlin", "day_or": False, "slug": "nightly"},
        {"interval": 3600, "anchor_date": "2026-01-01T00:00:00+01:00", "active": False},
        {"rrule": "RRULE:FREQ=WEEKLY;BYDAY=MO", "parameters": {"rows": 9}},
        {"rrule": "FREQ=MINUTELY;INTERVAL=7"},
    ],
}


def test_a_whole_deployment(prefect: Prefect, call: Call) -> None:
    options = {"flow": "score", "name": "whole", **WHOLE}
    would = call("prefect_deployment", check=True, **options)
    assert would["changed"] and call("prefect_deployment_info", flow="score")["deployments"] == []
    made = call("prefect_deployment", **options)
    assert made["diff"]["before"] == {} and made["diff"] == would["diff"]
    for check in (True, False):
        again = call("prefect_deployment", check=check, **options)
        assert not again["changed"], again["diff"]
    deployment = made["deployment"]
    scalars = {key: value for key, value in WHOLE.items() if key not in ("tags", "schedules")}
    assert {key: deployment[key] for key in scalars} == scalars
    assert deployment["tags"] == ["a", "b"] and len(deployment["schedules"]) == 4
    (info,) = call("prefect_deployment_info", flow="score", name="whole", work_pool="here", tags=["a"])["deployments"]
    assert info == again["deployment"]
    assert call("prefect_deployment_info", tags=["a", "c"])["deployments"] == []
    # Everything but the names may change, and the id stays.
    other: dict[str, Any] = {
        "description": "",
        "version": "2",
        "tags": [],
        "paused": False,
        "entrypoint": "new.py:score",
        "path": "/srv/other",
        "pull_steps": [],
        "parameters": {},
        "enforce_parameter_schema": False,
        "job_variables": {},
        "concurrency_limit": -1,
        "collision_strategy": "enqueue",
        "schedules": [],
    }
    changed = call("prefect_deployment", flow="score", name="whole", **other)
    shown = changed["deployment"]
    assert shown["id"] == deployment["id"]
    assert {key: shown[key] for key in other} == other | {"concurrency_limit": None}
    assert (shown["work_pool"], shown["work_queue"], shown["grace_period"]) == ("here", "fast", 120)
    for check in (True, False):
        assert call("prefect_deployment", check=check, flow="score", name="whole", state="absent")["changed"]
    assert not call("prefect_deployment", flow="score", name="whole", state="absent")["changed"]
    assert prefect.api("GET", "/flows/name/score")["name"] == "score"


def test_what_is_left_out_stays(prefect: Prefect, call: Call) -> None:
    call("prefect_deployment", flow="score", name="theirs", work_pool="here", schedules=[{"cron": "0 1 * * *"}])
    identity = held(prefect, "theirs")["id"]
    prefect.api("PATCH", f"/deployments/{identity}", {"paused": True, "parameters": {"a": 1}, "tags": ["x"]})
    schedule = held(prefect, "theirs")["schedules"][0]["id"]
    prefect.api("PATCH", f"/deployments/{identity}/schedules/{schedule}", {"active": False})
    same = call("prefect_deployment", flow="score", name="theirs", schedules=[{"cron": "0  1 * * *"}])
    assert not same["changed"] and same["deployment"]["paused"]
    changed = call("prefect_deployment", flow="score", name="theirs", version="3")
    assert changed["changed"] and changed["deployment"]["parameters"] == {"a": 1}
    assert held(prefect, "theirs")["schedules"][0]["id"] == schedule


def test_schedules_keep_their_ids(prefect: Prefect, call: Call) -> None:
    def schedules(*wanted: dict[str, Any]) -> dict[str, str]:
        result = call("prefect_deployment", flow="score", name="scheduled", schedules=list(wanted))
        assert result["changed"], result
        repeat = call("prefect_deployment", flow="score", name="scheduled", schedules=list(wanted))
        assert not repeat["changed"], repeat["diff"]
        return {str(one["slug"]): one["id"] for one in held(prefect, "scheduled")["schedules"]}

    first = schedules({"slug": "a", "cron": "0 1 * * *"}, {"slug": "b", "interval": 60.5})
    second = schedules({"slug": "a", "cron": "0 2 * * *"}, {"slug": "c", "cron": "0 3 * * *"})
    assert second["a"] == first["a"] and set(second) == {"a", "c"}
    third = schedules({"slug": "a", "interval": 90, "timezone": "Europe/Rome"})
    assert third == {"a": first["a"]}
    twins = [{"cron": "0 4 * * *", "parameters": {"n": number}} for number in (1, 2)]
    schedules(*twins)
    assert not call("prefect_deployment", flow="score", name="scheduled", schedules=twins[::-1])["changed"]


def test_limits_of_its_own_and_shared(prefect: Prefect, call: Call) -> None:
    def limited(**options: Any) -> tuple[Any, Any]:
        made = call("prefect_deployment", flow="score", name="limited", **options)
        assert made["changed"], made
        assert not call("prefect_deployment", flow="score", name="limited", **options)["changed"]
        return made["deployment"]["concurrency_limit"], made["deployment"]["global_concurrency_limit"]

    assert limited(concurrency_limit=1) == (1, None)
    assert limited(concurrency_limit=2) == (2, None)
    assert limited(global_concurrency_limit="shared") == (None, "shared")
    assert limited(global_concurrency_limit="other") == (None, "other")
    assert limited(concurrency_limit=3) == (3, None)
    assert limited(global_concurrency_limit="shared") == (None, "shared")
    assert limited(global_concurrency_limit="") == (None, None)
    # What others share is neither changed nor removed on the way.
    for name in ("shared", "other"):
        assert prefect.api("GET", f"/v2/concurrency_limits/{name}")["limit"] == 5


def test_pools_and_queues(prefect: Prefect, call: Call) -> None:
    def placed(**options: Any) -> tuple[Any, Any]:
        made = call("prefect_deployment", flow="score", name="placed", **options)
        assert made["changed"], made
        again = call("prefect_deployment", flow="score", name="placed", **options)
        assert not again["changed"], again["diff"]
        return made["deployment"]["work_pool"], made["deployment"]["work_queue"]

    assert placed(work_pool="here") == ("here", "default")
    assert placed(work_queue="slow") == ("here", "slow")
    assert placed(job_variables={"env": {"A": "1"}}) == ("here", "slow")
    assert placed(work_pool="there") == ("there", "default")
    assert placed(work_pool="here", work_queue="slow") == ("here", "slow")
    assert placed(work_pool="") == (None, None)
    pools = {one["name"] for one in prefect.api("POST", "/work_pools/filter", {})}
    assert "default-agent-pool" not in pools


WRONG: list[dict[str, Any]] = [{"api_url": "nowhere"}, {"paused": "perhaps"}, {"version": {"a": 1}, "unknown": 1}]


def test_secrets_are_never_shown(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda module, msg, log_args=None: logged.append(f"{msg} {log_args}"))

    def options(word: str) -> dict[str, Any]:
        return {
            "flow": "score",
            "name": "secretive",
            "job_variables": {"env": {"DB_PASSWORD": f"{word}-1", "TOKEN": "{{ prefect.blocks.secret.token }}"}},
            "parameters": {"source": f"https://me:{word}-2@example.com/x", "api_key": f"{word}-3"},
            "pull_steps": [{"git_clone": {"repository": "https://x/y", "access_token": f"{word}-4"}}],
        }

    made = call("prefect_deployment", **options("swordfish"))
    again = call("prefect_deployment", **options("swordfish"))
    changed = call("prefect_deployment", **options("haddock"))
    info = call("prefect_deployment_info", name="secretive")
    assert (made["changed"], again["changed"], changed["changed"]) == (True, False, True)
    said = json.dumps([{k: v for k, v in one.items() if k != "invocation"} for one in (made, again, changed, info)])
    assert "swordfish" not in said and "haddock" not in said
    env = changed["diff"]["after"]["job_variables"]["env"]
    assert env == {"DB_PASSWORD": "******** (changed)", "TOKEN": "{{ prefect.blocks.secret.token }}"}
    assert len(logged) == 4
    invoked = json.dumps([made["invocation"], changed["invocation"], logged])
    # Nor where it fails before anything is asked.
    invoked += json.dumps([call("prefect_deployment", **options("haddock"), **wrong) for wrong in WRONG])
    for number in (1, 3, 4):
        assert f"swordfish-{number}" not in invoked and f"haddock-{number}" not in invoked


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"work_pool": "ther"}, "work_pool: there is no work pool ther; similar ones are there"),
        ({"work_queue": "x"}, "work_queue: needs a work_pool"),
        ({"global_concurrency_limit": "share"}, "there is no limit share; similar ones are shared"),
        ({"concurrency_limit": 0}, "concurrency_limit: must be 1 or more, or -1 for no limit"),
        ({"grace_period": 5}, "grace_period: must be between 60 and 86400 seconds"),
        ({"schedules": [{"cron": "0 1 * * *", "interval": 5}]}, "schedules[0]: give one of cron, interval, rrule"),
        ({"parameters": {"rows": "x"}, "parameter_openapi_schema": SCHEMA}, "HTTP 422: body: "),
        ({"tags": ["a"], "work_pool": "here", "job_variables": {"env": 5}}, "HTTP 422: Error creating deployment: "),
    ],
)
def test_what_cant_be(prefect: Prefect, call: Call, options: dict[str, Any], message: str) -> None:
    failed = call("prefect_deployment", flow="never", name="never", **options)
    assert failed["failed"] and message in failed["msg"], failed["msg"]
    assert prefect.api("POST", "/deployments/count", {"flows": {"name": {"any_": ["never"]}}}) == 0
