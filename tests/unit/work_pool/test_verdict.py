# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a worker does about a run, by what the cluster and Prefect's server say; and the words of the agent."""

from __future__ import annotations

import configparser
import json
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT / "runtime" / "src") not in sys.path:
    sys.path.insert(0, str(ROOT / "runtime" / "src"))

from mlops_runtime.work_pool.agent import DEFAULT_PATIENCE, Agent, Job, Refused  # noqa: E402
from mlops_runtime.work_pool.verdict import Action, FlowState, verdict  # noqa: E402

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
STATES = ("waiting", "starting", "running", "succeeded", "failed", "lost")


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def job(state: str, *, created: float = 100, since: float = 10, **more: Any) -> Job:
    labels = {"prefect.flow-run": "0a1b", "prefect.patience": "600"}
    return Job("run-1", state, ago(created), ago(since), **{"labels": labels, **more})


def decided(found: Job, flow: str | None, since: float = 50, **more: Any) -> Action:
    return verdict(found, FlowState(flow, ago(since)) if flow else None, NOW, **more).action


@pytest.mark.parametrize("state", STATES)
def test_what_nobody_wants_any_more_goes(state: str) -> None:
    assert decided(job(state), None) is Action.REMOVE
    assert decided(job(state), "RUNNING", superseded=True) is Action.REMOVE


@pytest.mark.parametrize("flow", ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"])
def test_a_run_that_is_over_has_its_job_collected_and_its_process_some_time_to_end(flow: str) -> None:
    for state in STATES:
        ended = state in ("succeeded", "failed", "lost")
        assert decided(job(state), flow, 5) is (Action.REMOVE if ended else Action.WAIT)
        assert decided(job(state), flow, 61) is Action.REMOVE


@pytest.mark.parametrize("flow", ["SCHEDULED", "PAUSED"])
def test_a_run_that_waits_for_its_next_try_is_left_alone(flow: str) -> None:
    assert decided(job("running"), flow, 9999) is Action.WAIT
    assert decided(job("failed"), flow) is Action.REMOVE
    assert decided(job("succeeded"), flow) is Action.REMOVE


def test_a_cancellation_is_the_process_s_own_at_first() -> None:
    assert decided(job("running"), "CANCELLING", 50) is Action.WAIT
    assert decided(job("running"), "CANCELLING", 61) is Action.CANCEL
    assert decided(job("waiting"), "CANCELLING", 5) is Action.WAIT
    assert decided(job("waiting"), "CANCELLING", 11) is Action.CANCEL
    assert decided(job("failed"), "CANCELLING", 0) is Action.CANCEL


@pytest.mark.parametrize("flow", ["PENDING", "RUNNING"])
def test_a_job_that_is_no_more_is_a_crash_with_a_reason(flow: str) -> None:
    lost = verdict(job("lost", reason="its node two doesn't answer"), FlowState(flow, ago(50)), NOW)
    assert lost.action is Action.CRASH and "its node two doesn't answer" in lost.message
    failed = job("failed", reason="task: non-zero exit (3)", exit_code=3, node="two")
    found = verdict(failed, FlowState(flow, ago(50)), NOW)
    assert found.message == "Its job failed on two with exit code 3: task: non-zero exit (3)"
    assert decided(job("succeeded", since=50), flow) is Action.WAIT
    assert decided(job("succeeded", since=61), flow) is Action.CRASH


def test_who_waits_too_long_has_crashed_and_the_scheduler_s_words_are_told() -> None:
    reason = "no suitable node (insufficient resources on 1 node)"
    for state in ("waiting", "starting"):
        assert decided(job(state, created=599, reason=reason), "PENDING") is Action.WAIT
        found = verdict(job(state, created=601, reason=reason), FlowState("PENDING", ago(601)), NOW)
        assert found.action is Action.CRASH and found.message.endswith(f"within 600 seconds: {reason}")
    assert decided(job("running", created=9999), "RUNNING") is Action.WAIT
    assert job("waiting", labels={"prefect.patience": "long"}).patience == DEFAULT_PATIENCE


def test_a_job_that_failed_before_the_next_one_began_is_not_the_next_one_s_crash() -> None:
    assert decided(job("failed", since=10), "PENDING", 5) is Action.WAIT
    assert decided(job("failed", since=31), "PENDING", 5) is Action.CRASH
    assert decided(job("failed", since=10), "RUNNING", 5) is Action.CRASH


def test_what_the_agent_says_is_read() -> None:
    document = {
        "name": "run-1",
        "set_name": "runs.pipelines",
        "state": "failed",
        "created": "2026-11-30T11:59:00.123456789Z",
        "since": "2026-11-30T11:59:30Z",
        "reason": "x",
        "exit_code": 3,
        "node": "two",
        "labels": {"prefect.flow-run": "0a1b"},
        "ended": True,
    }
    found = Job.read(json.loads(json.dumps(document)))
    assert found.ended and found.flow_run == "0a1b" and found.since == ago(30) and found.exit_code == 3
    assert Job.read({"name": "a", "state": "waiting", "created": "2026-11-30T12:00:00Z"}).since == NOW


def test_refusals_say_everything_and_only_some_are_for_now() -> None:
    assert str(Refused(422, "the run is refused", ["a", "b"])) == "the run is refused; a; b"
    assert Refused(429, "2 runs go on", []).for_now and not Refused(422, "x", []).for_now


def test_a_worker_without_an_agent_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="MLOPS_WORKER_AGENT"):
        Agent.of({})
    with pytest.raises(ValueError, match="MLOPS_WORKER_AGENT_TOKEN_FILE"):
        Agent.of({"MLOPS_WORKER_AGENT": "http://agent:8080", "MLOPS_WORKER_AGENT_TOKEN_FILE": str(tmp_path / "none")})


def test_images_register_the_worker_as_the_distribution_does() -> None:
    project = tomllib.loads((ROOT / "runtime" / "pyproject.toml").read_text())["project"]
    folder = ROOT / "runtime" / "metadata" / f"{project['name']}-{project['version']}.dist-info"
    found = configparser.ConfigParser()
    found.read_string((folder / "entry_points.txt").read_text())
    assert {name: dict(found[name]) for name in found.sections()} == project["entry-points"]
    assert f"Version: {project['version']}" in (folder / "METADATA").read_text()
