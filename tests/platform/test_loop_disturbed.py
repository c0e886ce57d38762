# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The loop while what it is made of crashes: services end at once at each stage, and it ends as it would have."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from installed import EXAMPLE, Platform, Rest, read_rows
from test_loop import Asking, answered, champion, declared, send, told, until

MODEL = f"phishing-{time.time():.0f}"
"""A name of its own each time: what an earlier run has left would be in the way."""


@pytest.fixture
def shaken(platform: Platform, tmp_path: Path) -> Iterator[Rest]:
    """The example under a name of its own: no episode before, and no cool-down."""
    folder = tmp_path / "phishing"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("build", "__pycache__"))
    declaration = folder / "loop.yml"
    declaration.write_text(declaration.read_text().replace("phishing-loop", MODEL))
    done = platform.playbook(*declared("model.yml", str(declaration)))
    assert done.code == 0, done.end
    until(lambda: champion(platform, MODEL) == {"named": "1", "serves": "1"}, lambda: champion(platform, MODEL))
    names, _ = read_rows(EXAMPLE / "build/test.csv", "is_phishing")
    try:
        yield Rest(platform.gateway, platform.name, MODEL, names)
    finally:
        done = platform.playbook()
        assert done.code == 0, done.end


def test_the_loop_ends_as_it_would_have(platform: Platform, shaken: Rest) -> None:
    _, rows = read_rows(EXAMPLE / "build/test.csv", "is_phishing")

    def episodes() -> list[dict[str, Any]]:
        return list(told(platform, f"/v1/episodes?model={MODEL}")["episodes"])

    def trainings() -> list[dict[str, Any]]:
        query = f"/api/2.0/mlflow/experiments/get-by-name?experiment_name=retraining-{MODEL}"
        found = told(platform, query, service="mlflow")["experiment"]["experiment_id"]
        body = {"experiment_ids": [found], "filter": "attributes.status = 'RUNNING'"}
        return list(told(platform, "/api/2.0/mlflow/runs/search", body, "mlflow").get("runs", []))

    asking = Asking(shaken, rows)
    crashed: list[str] = []

    def crash(*workloads: str) -> None:
        for workload in workloads:
            platform.site.crash(workload)
            crashed.append(workload)

    begun = time.monotonic()
    try:
        send(platform, MODEL, "--drifted")
        until(episodes, episodes)
        crash("lifecycle", "postgresql")
        until(lambda: [one for one in answered(episodes) if one["run"]], lambda: answered(episodes))
        crash("prefect")
        until(lambda: answered(trainings), lambda: answered(episodes))
        crash("mlflow", "postgresql", "agent")
        until(lambda: named(platform) not in ("", "1"), lambda: answered(episodes))
        # Not the agent as well: without it the gateway would go on with the addresses of the version that goes.
        crash("lifecycle")
        until(lambda: serves(platform) not in ("", "1"), lambda: answered(episodes))
        seconds = time.monotonic() - begun
    finally:
        asking.end()
    assert (named(platform), serves(platform)) == ("2", "2")

    def ended() -> list[dict[str, Any]]:
        return [one for one in episodes() if one["run"] and one["run"]["state"] == "completed"]

    until(ended, episodes)
    assert len(episodes()) == 1, "one episode, one run"
    of_the_model = {"flow_runs": {"tags": {"all_": [f"mlops.model:{MODEL}"]}}}
    assert told(platform, "/api/flow_runs/count", of_the_model, "prefect") == 1
    versions = f"/api/2.0/mlflow/model-versions/search?filter=name%3D%27{MODEL}%27"
    assert len(told(platform, versions, service="mlflow")["model_versions"]) == 2
    assert asking.failed == [], f"{len(asking.failed)} of {asking.asked}: {asking.failed[0]}"
    print(f"BAR the loop with {', '.join(crashed)} crashed on the way: closed in {seconds:.0f} s, one run, one version")


def named(platform: Platform) -> str:
    return str((answered(lambda: champion(platform, MODEL)) or {}).get("named") or "")


def serves(platform: Platform) -> str:
    return str((answered(lambda: champion(platform, MODEL)) or {}).get("serves") or "")
