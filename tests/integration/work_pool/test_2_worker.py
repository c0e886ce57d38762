# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Flow runs as jobs of the cluster: Prefect's server, the worker and the agent are the platform's own."""

from __future__ import annotations

import json
from pathlib import Path

from pool_stand import NAMESPACE, RUNS, SECRETS, Stand, eventually

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = """
import json
from mlops_runtime.work_pool.configuration import base_job_template
print(json.dumps(base_job_template()))
"""


def test_the_role_s_template_is_the_worker_s(stand: Stand) -> None:
    code, output = stand.target.exec(stand.task("prefect-worker"), ["python", "-c", TEMPLATE])
    assert code == 0, output
    found = json.loads(output.strip().splitlines()[-1])
    assert found == json.loads((ROOT / "roles" / "prefect" / "files" / "cluster_pool.json").read_text())


def test_the_pool_is_as_the_site_says_and_stays_so(stand: Stand) -> None:
    stand.configure()
    pool = stand.pool()
    assert pool["type"] == "mlops-agent"
    configuration = pool["base_job_template"]["job_configuration"]
    assert configuration["images"] == {"prefect": stand.images["prefect"]}
    assert configuration["base_secrets"] == ["prefect_auth_string"] and configuration["connects"] == ["prefect"]
    assert not [value for value in SECRETS.values() if value in json.dumps(pool)]


def test_a_run_that_ends_well_has_what_was_asked_for_and_no_more(stand: Stand) -> None:
    run = stand.begin("tell", secrets=["warehouse_password"], env={"COLOUR": "red"}, memory_limit="300Mi")
    assert stand.end(run)[0] == "COMPLETED", stand.story(run)
    stand.wait_said(run, "colour red", 60)  # a run's last lines come a moment after its end
    said = stand.said(run)
    assert "user 10001 root writable False tmp writable True" in said
    assert f"memory {300 * 2**20}" in said and "sockets []" in said and "colour red" in said
    assert "secrets ['prefect_auth_string', 'warehouse_password']" in said
    assert f"warehouse {len(SECRETS['warehouse_password'])}" in said
    assert "Its job runs on" in said
    stand.is_collected(run)


def test_a_run_that_fails(stand: Stand) -> None:
    run = stand.begin("fail")
    state, message = stand.end(run)
    assert state == "FAILED" and "nothing to learn from" in message, stand.story(run)
    stand.is_collected(run)


def test_a_run_that_wants_too_much_memory_is_no_trouble_for_others(stand: Stand) -> None:
    run, other = stand.begin("hog"), stand.begin("wait", 5)
    assert stand.end(run)[0] == "CRASHED" and "held" not in stand.said(run), stand.story(run)
    assert stand.end(other)[0] == "COMPLETED", stand.story(other)
    stand.is_collected(run)


def test_what_the_agent_does_not_lend_is_refused_with_the_reason(stand: Stand) -> None:
    run = stand.begin("tell", secrets=["postgresql_admin_password"])
    state, message = stand.end(run)
    assert state == "CRASHED" and "postgresql_admin_password is not lent to pipelines" in message
    run = stand.begin("tell", image="docker.io/library/python@sha256:" + "0" * 64)
    assert "is not of the site's registry" in stand.end(run)[1]
    run = stand.begin("tell", image="python")
    assert "there is no image 'python' here (known: prefect)" in stand.end(run)[1]
    eventually(lambda: not stand.seam.runs(RUNS), 120, lambda: stand.seam.runs(RUNS))


def test_what_no_node_offers_is_said_and_not_waited_for_for_ever(stand: Stand) -> None:
    run = stand.begin("tell", generic={"example.com/made-up": 1}, pending_timeout=15)
    stand.wait_said(run, "Its job waits for a node: ")
    eventually(lambda: "nsufficient" in stand.said(run), 60, lambda: stand.story(run))
    state, message = stand.end(run)
    assert state == "CRASHED" and "didn't start within 15 seconds" in message and "nsufficient" in message
    stand.is_collected(run)


def test_a_run_is_cancelled_while_it_waits(stand: Stand) -> None:
    run = stand.begin("tell", generic={"example.com/made-up": 1})
    stand.wait_said(run, "Its job waits for a node: ")
    stand.cancel(run)
    assert stand.end(run, 120)[0] == "CANCELLED", stand.story(run)
    stand.is_collected(run)


def test_a_run_is_cancelled_while_it_runs(stand: Stand) -> None:
    run = stand.begin("wait", 3000)
    stand.runs_now(run)
    stand.cancel(run)
    assert stand.end(run, 200)[0] == "CANCELLED", stand.story(run)
    stand.is_collected(run)


def test_no_secret_is_in_what_the_cluster_shows(stand: Stand) -> None:
    run = stand.begin("wait", 20, secrets=["warehouse_password"])
    stand.runs_now(run)
    shown = stand.target.shown(NAMESPACE)
    job = stand.job(run)
    assert job is not None and job.name in shown
    said = [stand.said(run), *stand.seam.logs("prefect-worker", lines=10000), *stand.seam.logs("agent", lines=10000)]
    for name, value in SECRETS.items():
        assert value not in shown and value not in "\n".join(said), name
    assert stand.end(run)[0] == "COMPLETED", stand.story(run)


def test_a_run_whose_container_is_killed_is_a_crash_with_the_reason(stand: Stand) -> None:
    run = stand.begin("wait", 3000)
    stand.runs_now(run)
    job = stand.job(run)
    assert job is not None
    [task] = next(item.tasks for item in stand.seam.observe(RUNS) if item.name == job.name)
    stand.target.kill(task)
    state, message = stand.end(run, 120)
    assert state == "CRASHED" and "exit code 137" in message, stand.story(run)
    stand.is_collected(run)


def test_a_run_outlives_the_agent(stand: Stand) -> None:
    run = stand.begin("wait", 25)
    stand.runs_now(run)
    stand.kill("agent")
    eventually(lambda: stand.is_up("agent"), 120)
    assert stand.end(run)[0] == "COMPLETED", stand.story(run)
    stand.is_collected(run)


def test_a_run_outlives_its_worker_and_the_next_worker_goes_on(stand: Stand) -> None:
    run, doomed = stand.begin("wait", 40), stand.begin("wait", 3000)
    stand.runs_now(run)
    stand.runs_now(doomed)
    stand.kill("prefect-worker")
    job = stand.job(doomed)
    assert job is not None
    [task] = next(item.tasks for item in stand.seam.observe(RUNS) if item.name == job.name)
    stand.target.kill(task)
    eventually(lambda: stand.is_up("prefect-worker"), 200)
    assert stand.end(run)[0] == "COMPLETED", stand.story(run)
    state, message = stand.end(doomed, 120)
    assert state == "CRASHED" and "exit code 137" in message, stand.story(doomed)
    stand.is_collected(run)
    stand.is_collected(doomed)


def test_what_was_done_by_hand_is_a_crash_too(stand: Stand) -> None:
    run = stand.begin("wait", 3000)
    stand.runs_now(run)
    job = stand.job(run)
    assert job is not None
    assert stand.seam.remove_run(RUNS, job.name)
    state, message = stand.end(run, 120)
    assert state == "CRASHED", stand.story(run)
    assert message


def test_the_worker_has_no_key_but_its_own(stand: Stand) -> None:
    code, output = stand.target.exec(stand.task("prefect-worker"), ["sh", "-c", "ls /run/secrets; env"])
    assert code == 0
    assert "agent_token_pipelines" in output and "warehouse" not in output and "MLFLOW" not in output
    assert "docker.sock" not in output
