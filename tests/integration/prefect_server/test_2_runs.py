# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Work pools as declared, and runs in the worker: one that completes, one whose server is killed, one whose worker."""

from __future__ import annotations

import re
from typing import Any

from pipelines import Pipelines
from stand import CONFIGURE, Stand

QUEUES = [{"name": "first", "priority": 1}]
POOLS = [{"name": "elsewhere", "type": "kubernetes", "concurrency_limit": 2, "queues": QUEUES}]
CRASHED_AFTER = 60


def test_the_role_brings_it_to_what_is_declared_once(worker: Stand) -> None:
    configure(worker, changed=2, prefect_work_pools=POOLS)
    configure(worker, changed=0, prefect_work_pools=POOLS)
    pools = worker.pipelines().api("POST", "/work_pools/filter", {})
    assert {pool["name"]: pool["type"] for pool in pools} == {"default": "process", "elsewhere": "kubernetes"}
    [automation] = worker.pipelines().api("POST", "/automations/filter", {})
    assert automation["enabled"] and automation["trigger"]["within"] == 300


def test_a_run_completes(worker: Stand) -> None:
    worker.pipelines("verify-run").a_run_completes()


def test_a_run_outlives_the_death_of_its_server_and_shows_up_again(worker: Stand) -> None:
    pipelines = worker.pipelines("verify-server")
    pipelines.begin(240)
    worker.containers.kill("server")
    worker.start_server()
    before = len(heartbeats(pipelines))
    worker.containers.wait_for(lambda: len(heartbeats(pipelines)) > before, 240, "server")
    pipelines.finish(240)

    def said() -> bool:
        return bool(re.search(r"second 239$", pipelines.logs(pipelines.run()["id"]), re.MULTILINE))

    worker.containers.wait_for(said, 60, "server")  # a run's last lines come a moment after its end
    pipelines.remove()


def test_a_run_whose_worker_died_is_marked_as_crashed_and_the_next_one_runs(worker: Stand) -> None:
    configure(worker, changed=1, prefect_work_pools=POOLS, prefect_crashed_after=CRASHED_AFTER)
    pipelines = worker.pipelines("verify-worker")
    pipelines.begin(3600)
    # Its silence is counted from its first sign of life.
    worker.containers.wait_for(lambda: bool(heartbeats(pipelines)), 300, "server")
    worker.containers.kill("worker")
    worker.containers.wait_for(lambda: pipelines.run()["state"]["type"] == "CRASHED", CRASHED_AFTER + 300, "server")
    assert "its process is gone" in pipelines.run()["state"]["message"]
    pipelines.remove()
    worker.start_worker()
    worker.pipelines("verify-next").a_run_completes()


def configure(stand: Stand, changed: int, **variables: Any) -> None:
    done = stand.play(CONFIGURE, verb="configure", **variables)
    assert done.returncode == 0 and f"changed={changed} " in done.stdout, done.stdout[-3000:]


def heartbeats(pipelines: Pipelines) -> list[Any]:
    run = pipelines.run()["id"]
    wanted = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    return list(pipelines.api("POST", "/events/filter", {"filter": wanted})["events"])
