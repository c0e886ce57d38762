# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs of a tiny flow, by a real worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect import Call, Prefect

RUN: dict[str, Any] = {"flow": "train", "deployment": "tiny", "poll_interval": 0.3, "wait_timeout": 120}


@pytest.fixture(autouse=True)
def deployed(call: Call, flows: Path, pool: str) -> None:
    options = {"flow": "train", "name": "tiny", "entrypoint": "train.py:train", "path": str(flows), "version": "7"}
    assert not call("prefect_deployment", work_pool=pool, tags=["tiny"], **options).get("failed")


def test_a_run_that_succeeds(call: Call) -> None:
    options = RUN | {"idempotency_key": "good", "parameters": {"rows": 2}, "tags": ["mine"], "name": "first"}
    would = call("prefect_flow_run", check=True, **options)
    assert would["changed"] and would["flow_run"]["id"] is None and would["flow_run"]["parameters"] == {"rows": 2}
    made = call("prefect_flow_run", **options, log_lines=2)
    assert made["changed"] and not made.get("failed"), made["msg"]
    assert made["diff"] == would["diff"]
    run = made["flow_run"]
    assert (run["state"], run["state_name"], run["name"], run["deployment_version"]) == (
        "completed",
        "Completed",
        "first",
        "7",
    )
    assert run["tags"] == ["mine", "tiny"] and run["run_time"] > 0
    assert made["failed_task_runs"] == [] and made["failed_task_run_count"] == 0
    assert made["logs"][-1]["message"].startswith("Finished in state Completed")
    assert len(made["logs"]) == 2 and made["logs_truncated"]
    for check in (True, False):
        again = call("prefect_flow_run", check=check, **options)
        assert not again["changed"] and again["flow_run"] == run
        assert [line["message"] for line in again["logs"] if "line" in line["message"]] == [
            "line 0",
            "line 1",
            "line 2",
        ]
    (info,) = call("prefect_flow_run_info", flow="train", idempotency_key="good", details=True)["flow_runs"]
    assert info == again["flow_run"] | {key: again[key] for key in info if key not in run}
    other = call("prefect_flow_run", **options | {"parameters": {"rows": 9}})
    assert not other["changed"] and "started with other parameters (rows)" in str(other["warnings"])


def test_a_run_that_ends_well_although_a_task_failed(call: Call) -> None:
    options = RUN | {"idempotency_key": "partly", "parameters": {"rows": -1, "ignore": True}}
    made = call("prefect_flow_run", **options)
    assert not made.get("failed") and made["flow_run"]["state"] == "completed"
    (task,) = made["failed_task_runs"]
    assert task["name"].startswith("load") and "a negative number of rows" in task["state_message"]
    failed = call("prefect_flow_run", **options, fail_when_tasks_failed=True)
    assert failed["failed"] and "ended Completed, but 1 of its task runs failed" in failed["msg"]
    assert failed["failed_task_runs"] == [task] and not failed["changed"]


def test_a_run_that_fails(call: Call) -> None:
    options = RUN | {"idempotency_key": "bad", "parameters": {"rows": -1}}
    failed = call("prefect_flow_run", **options, log_level="error")
    assert failed["failed"] and failed["changed"] and failed["flow_run"]["state"] == "failed"
    assert "of train/tiny ended Failed: " in failed["msg"] and "a negative number of rows" in failed["msg"]
    assert failed["failed_task_run_count"] == 1 and failed["logs"]
    assert {line["level"] for line in failed["logs"]} == {"error"}
    assert not call("prefect_flow_run", **options, fail_when_unsuccessful=False).get("failed")
    found = call("prefect_flow_run_info", flow="train", states=["failed"], deployment="tiny")["flow_runs"]
    assert [one["idempotency_key"] for one in found] == ["bad"]


def test_cancelling_what_runs(prefect: Prefect, call: Call) -> None:
    options = RUN | {"idempotency_key": "endless", "parameters": {"seconds": 300}}
    late = call("prefect_flow_run", **options | {"wait_timeout": 0})
    assert late["failed"] and "is Scheduled after 0 s; its work pool processes is ready" in late["msg"]
    identity = late["flow_run"]["id"]

    def running() -> bool:
        return bool(prefect.api("GET", f"/flow_runs/{identity}")["state_type"] == "RUNNING")

    prefect.wait_for(running, 60, "processes")
    would = call("prefect_flow_run", check=True, id=identity, state="cancelled")
    assert would["changed"] and would["flow_run"]["state"] == "cancelled" and running()
    gone = call("prefect_flow_run", id=identity, state="cancelled", poll_interval=0.3, wait_timeout=60)
    assert gone["changed"] and gone["flow_run"]["state"] == "cancelled", gone["msg"]
    assert not call("prefect_flow_run", id=identity, state="cancelled")["changed"]
    failed = call("prefect_flow_run", **options)
    assert failed["failed"] and "ended Cancelled" in failed["msg"]


def test_a_run_that_nobody_takes(prefect: Prefect, call: Call) -> None:
    prefect.api("POST", "/work_pools/", {"name": "idle", "type": "process"})
    call("prefect_deployment", flow="train", name="idle", work_pool="idle")
    later = {"flow": "train", "deployment": "idle", "idempotency_key": "later", "start_at": "2035-01-01T00:00:00Z"}
    made = call("prefect_flow_run", **later, wait=False, work_queue="night", job_variables={"env": {"A": "1"}})
    assert made["changed"] and made["flow_run"]["state"] == "scheduled"
    assert made["flow_run"]["expected_start"].startswith("2035-01-01") and made["flow_run"]["work_queue"] == "night"
    late = call("prefect_flow_run", **later, wait_timeout=0.5, poll_interval=0.1)
    assert late["failed"] and "its work pool idle is not ready: is a worker of it running" in late["msg"]
    prefect.api("PATCH", "/work_pools/idle", {"is_paused": True})
    assert "idle is paused" in call("prefect_flow_run", **later, wait_timeout=0)["msg"]
    taken = call("prefect_flow_run", **later | {"deployment": "tiny"})
    assert taken["failed"] and "belongs to the run" in taken["msg"] and "of train/idle" in taken["msg"]
    key = {name: later[name] for name in ("flow", "deployment", "idempotency_key")}
    cancelled = call("prefect_flow_run", **key, state="cancelled")
    assert cancelled["changed"] and cancelled["flow_run"]["state"] == "cancelled"
    for check in (True, False):
        assert call("prefect_flow_run", check=check, **key, state="absent")["changed"]
    for state in ("absent", "cancelled"):
        nothing = call("prefect_flow_run", **key, state=state)
        assert not nothing["changed"] and nothing["flow_run"] is None


def test_what_is_not_there(call: Call) -> None:
    for check in (True, False):
        failed = call("prefect_flow_run", check=check, flow="train", deployment="tinny", idempotency_key="x")
        assert failed["failed"] and "no deployment train/tinny; similar ones are train/tiny" in failed["msg"]
    unknown = call("prefect_flow_run", id="01a225df-4dc8-7b37-90c7-7c6013236da9")
    assert unknown["failed"] and "id: there is no flow run 01a225df" in unknown["msg"]
    assert "is no id of Prefect's" in call("prefect_flow_run_info", id="7")["msg"]
