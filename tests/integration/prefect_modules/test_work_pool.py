# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Work pools with their queues, at a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.client import PrefectClient
from prefect import Call, Prefect


def queues(result: dict[str, Any]) -> list[tuple[str, int]]:
    return [(queue["name"], queue["priority"]) for queue in result["work_pool"]["queues"]]


def test_a_work_pool(prefect: Prefect, call: Call) -> None:
    options: dict[str, Any] = {"name": "a pool", "type": "process", "concurrency_limit": 3, "description": "one"}
    would = call("prefect_work_pool", check=True, **options)
    assert would["changed"] and call("prefect_work_pool_info", name="a pool")["work_pools"] == []
    made = call("prefect_work_pool", **options)
    assert made["diff"] == would["diff"] and made["diff"]["before"] == {}
    # A new pool has its type's own template, as with Prefect's command line.
    assert "working_dir" in made["work_pool"]["base_job_template"]["variables"]["properties"]
    for check in (True, False):
        assert not call("prefect_work_pool", check=check, **options)["changed"]
    # What is not given is left as it is.
    prefect.api("PATCH", "/work_pools/a%20pool", {"is_paused": True, "description": "theirs"})
    assert not call("prefect_work_pool", name="a pool", concurrency_limit=3)["changed"]
    changed = call("prefect_work_pool", name="a pool", description="mine", concurrency_limit=-1)
    assert changed["work_pool"]["paused"] and changed["work_pool"]["concurrency_limit"] is None
    assert (changed["diff"]["before"]["description"], changed["diff"]["after"]["description"]) == ("theirs", "mine")
    (info,) = call("prefect_work_pool_info", name="a pool")["work_pools"]
    assert info == changed["work_pool"]
    assert "a pool" in [one["name"] for one in call("prefect_work_pool_info")["work_pools"]]
    for check in (True, False):
        assert call("prefect_work_pool", check=check, name="a pool", state="absent")["changed"]
    assert not call("prefect_work_pool", name="a pool", state="absent")["changed"]


def test_defaults_of_job_variables(call: Call) -> None:
    options: dict[str, Any] = {
        "name": "defaults",
        "type": "process",
        "job_variables": {"stream_output": False, "env": {"API_KEY": "hidden-for-good", "LEVEL": "INFO"}},
    }
    made = call("prefect_work_pool", **options)
    assert made["work_pool"]["base_job_template"]["variables"]["properties"]["stream_output"]["default"] is False
    env = made["work_pool"]["base_job_template"]["variables"]["properties"]["env"]["default"]
    assert env == {"API_KEY": "********", "LEVEL": "INFO"}
    assert not call("prefect_work_pool", **options)["changed"]
    options["job_variables"]["env"]["API_KEY"] = "another-for-good"
    changed = call("prefect_work_pool", **options)
    after = changed["diff"]["after"]["base_job_template"]["variables"]["properties"]["env"]["default"]
    assert changed["changed"] and after["API_KEY"] == "******** (changed)"
    assert "for-good" not in json.dumps([made, changed])
    wrong = call("prefect_work_pool", name="defaults", job_variables={"comand": "x"})
    assert wrong["failed"] and "no variable comand; similar ones are command" in wrong["msg"]


def test_queues(prefect: Prefect, call: Call) -> None:
    first, second = {"name": "first", "priority": 1}, {"name": "second", "priority": 2, "concurrency_limit": 1}
    options: dict[str, Any] = {"name": "queued", "type": "process", "queues": [second, first]}
    assert call("prefect_work_pool", check=True, **options)["changed"]
    assert queues(call("prefect_work_pool", **options)) == [("first", 1), ("second", 2), ("default", 3)]
    for check in (True, False):
        assert not call("prefect_work_pool", check=check, **options)["changed"]
    prefect.api("POST", "/work_pools/queued/queues", {"name": "theirs", "priority": 1})
    again = call("prefect_work_pool", **options)
    assert again["changed"] and queues(again)[:2] == [("first", 1), ("second", 2)]
    assert not call("prefect_work_pool", **options)["changed"]
    swapped = [first | {"priority": 2}, second | {"priority": 1, "concurrency_limit": -1, "paused": True}]
    changed = call("prefect_work_pool", name="queued", queues=swapped, purge_queues=True)
    assert queues(changed)[:2] == [("second", 1), ("first", 2)] and len(queues(changed)) == 3
    assert (changed["work_pool"]["queues"][0]["concurrency_limit"], changed["work_pool"]["queues"][0]["paused"]) == (
        None,
        True,
    )
    gone = call("prefect_work_pool", name="queued", queues=[{"name": "first", "state": "absent"}])
    assert gone["changed"] and "first" not in dict(queues(gone))
    assert not call("prefect_work_pool", name="queued", queues=[{"name": "first", "state": "absent"}])["changed"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "new"}, "type: the work pool new doesn't exist yet, so it needs a type"),
        ({"name": "prefect-like"}, "name: 'prefect-like' is refused by Prefect"),
        ({"name": "a/b"}, "name: 'a/b' must not be empty, and must have none of"),
        ({"name": "x", "concurrency_limit": -2}, "concurrency_limit: must be 0 or more, or -1 for no limit"),
        ({"name": "x", "queues": [{"name": "default", "state": "absent"}]}, "queues[0]: the queue default can't be"),
        ({"name": "x", "queues": [{"name": "q"}, {"name": "q"}]}, "queues[1].name: q is given twice"),
        ({"name": "x", "type": "process", "base_job_template": {"a": 1}}, "HTTP 422: body.base_job_template: "),
    ],
)
def test_what_cant_be(call: Call, options: dict[str, Any], message: str) -> None:
    failed = call("prefect_work_pool", **options)
    assert failed["failed"] and message in failed["msg"], failed["msg"]


def test_a_worker_that_makes_the_pool_first(prefect: Prefect, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    prefect.api("POST", "/work_pools/", {"name": "raced", "type": "process"})
    find, looks = PrefectClient.find_work_pool, iter([None])
    monkeypatch.setattr(PrefectClient, "find_work_pool", lambda self, name: next(looks, find(self, name)))
    made = call("prefect_work_pool", name="raced", type="process", description="mine")
    assert made["changed"] and made["diff"]["before"]["description"] == ""
    assert prefect.api("GET", "/work_pools/raced")["description"] == "mine"


def test_the_type_stays(call: Call) -> None:
    call("prefect_work_pool", name="typed", type="process")
    for check in (True, False):
        failed = call("prefect_work_pool", check=check, name="typed", type="docker")
        assert failed["failed"] and "typed is of type process, and Prefect can't change that" in failed["msg"]
