# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs by the seam alone: how they end, what they wait for, what they print, what is left of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from _workload import LogLine, Run, parse
from pool_stand import NAMESPACE, Stand, eventually

SET = "runs.tester"
SECRET = "a-secret-of-one-run"


@pytest.fixture(autouse=True)
def cleared(stand: Stand) -> Iterator[None]:
    yield
    for run in stand.seam.runs(SET):
        stand.seam.remove_run(SET, run.name)
    assert stand.seam.runs(SET) == []


def start(stand: Stand, script: str, **more: Any) -> str:
    name = f"run-{uuid.uuid4().hex[:8]}"
    resources = {"limits": {"cpu": 1, "memory": "64Mi"}, **more.pop("resources", {})}
    [workload] = parse(
        [
            {
                "name": name,
                "kind": "job",
                "image": "agent",
                "command": ["sh", "-c", script],
                "resources": resources,
                "labels": {"for": "tests"},
                **more,
            }
        ]
    )
    values = {"run_secret": SECRET}
    stand.seam.start(SET, workload, images=stand.images, secret_values=values)
    stand.seam.start(SET, workload, images=stand.images, secret_values=values)
    return name


def run(stand: Stand, name: str) -> Run:
    [found] = [found for found in stand.seam.runs(SET) if found.name == name]
    return found


def ended(stand: Stand, name: str) -> Run:
    eventually(lambda: run(stand, name).ended, 120, lambda: run(stand, name))
    return run(stand, name)


def test_a_run_that_ends_well_and_its_log_piece_by_piece(stand: Stand) -> None:
    name = start(stand, "for i in 1 2 3 4; do echo line $i; sleep 1; done")
    found: list[LogLine] = []

    def read_on() -> bool:
        since = found[-1].position if found else "2000-01-01T00:00:00.000000000Z"
        found.extend(stand.seam.run_log(SET, name, since=since, lines=2))
        return len(found) >= 4

    eventually(read_on, 60, lambda: (found, run(stand, name)))
    assert [line.text for line in found] == [f"line {number}" for number in range(1, 5)]
    last = ended(stand, name)
    assert (last.state, last.exit_code, last.labels) == ("succeeded", 0, {"for": "tests"})
    assert last.node and last.created <= last.since
    assert [line.text for line in stand.seam.run_log(SET, name, lines=1)] == ["line 4"]
    assert stand.seam.run_log("runs.other", name) == [] and stand.seam.runs("runs.other") == []
    assert stand.seam.remove_run("runs.other", name) is False


def test_one_that_fails_says_with_which_code_and_is_not_tried_again(stand: Stand) -> None:
    name = start(stand, "echo no model here >&2; exit 3")
    found = ended(stand, name)
    assert (found.state, found.exit_code) == ("failed", 3) and "3" in found.reason
    assert [line.text for line in stand.seam.run_log(SET, name)] == ["no model here"]
    tasks = [item.tasks for item in stand.seam.observe(SET)]
    assert [len(one) for one in tasks] == [1]


def test_what_no_node_offers_is_waited_for_with_the_scheduler_s_reason(stand: Stand) -> None:
    name = start(stand, "true", resources={"generic": {"example.com/made-up": 1}})
    eventually(lambda: "nsufficient" in run(stand, name).reason, 60, lambda: run(stand, name))
    assert run(stand, name).state == "waiting"
    labelled = start(stand, "true", placement={"labels": {"no-node": "has-this"}})
    eventually(lambda: "node" in run(stand, labelled).reason, 60, lambda: run(stand, labelled))
    assert run(stand, labelled).state == "waiting"


def test_memory_has_a_limit(stand: Stand) -> None:
    name = start(stand, "exec python -c 'print(len(bytearray(1 << 29)))'")
    found = ended(stand, name)
    assert (found.state, found.exit_code) == ("failed", 137) and "memory" in found.reason


def test_a_secret_is_a_file_and_nowhere_else_and_goes_with_the_last_run(stand: Stand) -> None:
    script = f"test $(wc -c < /run/secrets/run_secret) = {len(SECRET)} && sleep 600"
    secrets = [{"name": "run_secret", "mode": "0440"}]
    first, second = (start(stand, script, secrets=secrets) for _ in range(2))
    eventually(lambda: {one.state for one in stand.seam.runs(SET)} == {"running"}, 60, lambda: stand.seam.runs(SET))
    assert SECRET not in stand.target.shown(NAMESPACE)
    assert stand.seam.remove_run(SET, first) and not stand.seam.remove_run(SET, first)
    assert run(stand, second).state == "running"
    third = start(stand, script, secrets=secrets)
    eventually(lambda: run(stand, third).state == "running", 60)


def containers(stand: Stand, name: str) -> list[Any]:
    """What is there of a run beside what the seam tells."""
    if stand.target.name == "swarm":
        scope = {"label": f"mlops.workload={name}"}
        tasks = [task for task in stand.target.client.api.tasks() if name in str(task["Spec"])]
        return [*stand.target.client.containers.list(all=True, filters=scope), *tasks]
    return list(stand.target._get(f"/api/v1/pods?labelSelector=mlops.onprem/workload={name}")["items"])


def test_what_is_removed_ends_and_what_waited_never_begins(stand: Stand) -> None:
    going = start(stand, "trap 'exit 0' TERM; sleep 600 & wait", stop_grace=20)
    waiting = start(stand, "sleep 600", placement={"labels": {"no-node": "has-this"}})
    eventually(lambda: run(stand, going).state == "running", 60, lambda: run(stand, going))
    eventually(lambda: run(stand, waiting).state == "waiting", 60)
    assert containers(stand, going) and containers(stand, waiting)
    assert stand.seam.remove_run(SET, going) and stand.seam.remove_run(SET, waiting)
    assert stand.seam.runs(SET) == []
    eventually(lambda: not containers(stand, going) + containers(stand, waiting), 60, lambda: containers(stand, going))


def test_a_run_that_is_killed_from_outside_has_failed(stand: Stand) -> None:
    name = start(stand, "sleep 600")
    eventually(lambda: run(stand, name).state == "running", 60, lambda: run(stand, name))
    [task] = next(item.tasks for item in stand.seam.observe(SET) if item.name == name)
    stand.target.kill(task)
    found = ended(stand, name)
    assert (found.state, found.exit_code) == ("failed", 137)
