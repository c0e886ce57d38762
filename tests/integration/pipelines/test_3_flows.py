# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The example's flow as the platform runs it: its code pulled from MLflow, at a real Prefect with a worker."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from _model_spec.flow_code import pack
from mlops_runtime.pipelines.code import store
from stand import ADMIN, EXAMPLE, PASSWORD, ROOT, Prefect, eventually

HERE = Path(__file__).resolve().parent
POOL = "processes"
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Deployments:
    """Flows at the pipeline server, and their runs as the controller starts them."""

    def __init__(self, prefect: Any, site: Any, python: Path, folder: Path) -> None:
        self._prefect = prefect
        code = folder / "code"
        shutil.copytree(EXAMPLE, code, ignore=shutil.ignore_patterns("build*", "__pycache__"))
        shutil.copy(HERE / "flows" / "more.py", code)
        self._archive = pack(code, lock="requirements.txt", image="flows@sha256:01")
        self._site = site
        (folder / "password").write_text(PASSWORD)
        paths = [ROOT / "runtime" / "src", ROOT / "plugins" / "module_utils"]
        self._job = {
            "command": f"{python} -m prefect.engine",
            "env": {
                "PYTHONPATH": os.pathsep.join(map(str, paths)),
                "MLFLOW_TRACKING_URI": site.mlflow.uri,
                "MLFLOW_TRACKING_USERNAME": ADMIN,
                "MLFLOW_TRACKING_PASSWORD_FILE": str(folder / "password"),
            },
        }

    @property
    def version(self) -> str:
        return self._archive.version

    def start(self, model: Any, entrypoint: str = "flows.py:retrain", **parameters: Any) -> str:
        """The id of a run of the model's own deployment."""
        store(self._site.client, model.name, self._archive)
        name = entrypoint.partition(":")[2].replace("_", "-")
        flow = self._prefect.api("POST", "/flows/", {"name": name})["id"]
        pull = {"mlops_runtime.pipelines.code.pull": {"model": model.name, "version": self.version}}
        body = {
            "name": f"retrain-{model.name}",
            "flow_id": flow,
            "work_pool_name": POOL,
            "entrypoint": entrypoint,
            "pull_steps": [pull],
            "job_variables": self._job,
            "parameter_openapi_schema": {"type": "object", "properties": {}},
        }
        deployment = self._prefect.api("POST", "/deployments/", body)["id"]
        given = {"model": model.name, "version": "1", "episode": f"e-{uuid.uuid4().hex[:8]}", **parameters}
        run = self._prefect.api("POST", f"/deployments/{deployment}/create_flow_run", {"parameters": given})
        return str(run["id"])

    def run(self, id: str) -> dict[str, Any]:
        return dict(self._prefect.api("GET", f"/flow_runs/{id}"))

    def end(self, id: str, seconds: float = 400) -> tuple[str, str]:
        """State and message of a run that has ended."""
        eventually(lambda: self.run(id)["state_type"] in FINAL, seconds, lambda: self.log(id))
        state = self.run(id)["state"]
        return str(state["type"]), str(state["message"])

    def completes(self, id: str) -> bool:
        """Whether it has completed; a run that crashed is tried again.

        Its runner and its worker both report a crash: the second report may undo a retry that was as quick.
        """
        state = self.run(id)["state_type"]
        if state == "CRASHED":
            self.again(id)
        return bool(state == "COMPLETED")

    def again(self, id: str) -> None:
        """The same run is scheduled once more, as for a retry."""
        details = {"scheduled_time": datetime.now(UTC).isoformat()}
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "state_details": details}
        self._prefect.api("POST", f"/flow_runs/{id}/set_state", {"state": state, "force": True})

    def log(self, id: str) -> str:
        found = self._prefect.api("POST", "/logs/filter", {"logs": {"flow_run_id": {"any_": [id]}}, "limit": 200})
        told = (self._prefect.directory / f"{POOL}.log").read_text(errors="replace")
        return f"{self.run(id)['state']}\n" + "\n".join(line["message"] for line in found) + told[-3000:]


@pytest.fixture(scope="module")
def deployments(site: Any, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployments]:
    with Prefect.started(tmp_path_factory.mktemp("prefect")) as prefect:
        prefect.api("POST", "/work_pools/", {"name": POOL, "type": "process"})
        with prefect.worker(POOL):
            prefect.wait_for(lambda: prefect.api("GET", f"/work_pools/{POOL}")["status"] == "READY", 180, POOL)
            yield Deployments(prefect, site, python, tmp_path_factory.mktemp("flows"))


def test_the_run_succeeds_and_the_alias_moves_where_the_data_have_something_to_teach(
    site: Any, deployments: Deployments
) -> None:
    model = site.model()
    model.ask(site.campaign())
    run = deployments.start(model, trials=4)
    assert deployments.end(run)[0] == "COMPLETED", deployments.log(run)
    assert model.champion == "2", deployments.log(run)
    tags = model.tags("2")
    assert tags["mlops.gate"] == "won" and tags["mlops.pipeline"] == deployments.version
    assert tags["mlops.episode"] == deployments.run(run)["parameters"]["episode"]
    trials = [one for one in model.runs() if any(tag["key"] == "mlops.trial" for tag in one["data"]["tags"])]
    assert len(trials) == 4


def test_a_gate_that_is_lost_moves_nothing_and_is_no_failure(site: Any, deployments: Deployments) -> None:
    model = site.model(gate={"metric": "f1", "minimum_gain": 0.9})
    model.ask(site.campaign())
    run = deployments.start(model, trials=2)
    assert deployments.end(run)[0] == "COMPLETED", deployments.log(run)
    assert (model.champion, model.versions) == ("1", ["1", "2"])
    gate = json.loads((model.artefacts("2") / "gate.json").read_text())
    assert not gate["won"] and "and not at least 0.9" in gate["reasons"][0]


def test_a_task_that_fails_fails_the_run(site: Any, deployments: Deployments) -> None:
    model = site.model()
    run = deployments.start(model, files=["/no/such/pages.csv"])
    state, message = deployments.end(run)
    assert state == "FAILED" and "there is no file /no/such/pages.csv" in message, deployments.log(run)
    assert (model.champion, model.versions) == ("1", ["1"])


def test_a_task_that_fails_unnoticed_fails_the_run_and_moves_nothing(site: Any, deployments: Deployments) -> None:
    model, winner = site.model(), site.model()
    winner.ask(site.campaign())
    runs = [deployments.start(model, "more.py:goes_on"), deployments.start(winner, "more.py:promotes_all_the_same")]
    for run in runs:
        state, message = deployments.end(run)
        assert state == "FAILED" and "nothing to learn from" in message, deployments.log(run)
    assert (winner.champion, winner.versions) == ("1", ["1", "2"]) and winner.tags("2")["mlops.gate"] == "won"


def test_a_dataset_that_was_changed_fails_the_run(site: Any, deployments: Deployments) -> None:
    model = site.model()
    model.ask(site.campaign())
    path = model.artefacts("1") / "datasets" / "test" / "test.csv"
    path.write_bytes(path.read_bytes().replace(b"0.5", b"1.0", 1))
    run = deployments.start(model)
    state, message = deployments.end(run)
    assert state == "FAILED" and "and was registered with" in message, deployments.log(run)
    assert model.episode(deployments.run(run)["parameters"]["episode"])["tags"]["mlops.outcome"] == "tampered_dataset"
    assert (model.champion, model.versions) == ("1", ["1"])


def test_a_run_that_was_killed_and_tried_again_makes_one_version(
    site: Any, deployments: Deployments, tmp_path: Path
) -> None:
    model = site.model()
    model.ask(site.campaign())
    run = deployments.start(model, "more.py:waits", folder=str(tmp_path))
    pid = tmp_path / "pid"
    eventually(pid.exists, 400, lambda: deployments.log(run))
    assert model.versions == ["1", "2"] and model.champion == "1"
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(pid.read_text()), signal.SIGKILL)
    assert deployments.end(run)[0] == "CRASHED", deployments.log(run)
    (tmp_path / "go").touch()
    eventually(lambda: deployments.completes(run), 400, lambda: deployments.log(run))
    assert (model.champion, model.versions) == ("2", ["1", "2"])
    retrained = model.episode(deployments.run(run)["parameters"]["episode"])
    assert retrained["info"]["status"] == "FINISHED" and retrained["tags"]["mlops.outcome"] == "promoted"
