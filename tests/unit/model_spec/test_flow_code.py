# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a flow takes, and the deployment made of a declaration; its archive is tested in tests/unit/pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec import flow_code as subject
from ansible_collections.mlops.onprem.plugins.plugin_utils import model_filters

FLOW = """
from prefect import flow

@flow
def retrain(model, version="", *, episode="", trials: int = 5):
    pass

@flow
async def other(what, /, model):
    pass
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    files = {"flows.py": FLOW, "lib/a.py": "A = 1", "lock.txt": "a==1", "build/model/x": "x", "build/train.csv": "1"}
    files |= {".hidden/y": "y", "lib/__pycache__/a.pyc": "z"}
    for name, text in files.items():
        (tmp_path / "here" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "here" / name).write_text(text)
    return tmp_path / "here"


def test_what_a_flow_takes_is_read_and_nothing_is_run(code: Path) -> None:
    found = subject.flow_parameters(code / "flows.py", "retrain")
    assert found == {"model": True, "version": False, "episode": False, "trials": False}
    assert subject.flow_parameters(code / "flows.py", "other") == {"what": True, "model": True}
    for file, function in (("flows.py", "no"), ("no.py", "retrain"), ("lock.txt", "retrain")):
        with pytest.raises(subject.BadArchive):
            subject.flow_parameters(code / file, function)


def declaration(declared: dict[str, Any], flow: str, **more: Any) -> dict[str, Any]:
    watched = {"detectors": ["ewma"], "artefact": "build/drift"}
    retraining = {"flow": flow, "gate": {"metric": "f1"}, "on": [{"drift": True}], **more}
    return {**declared, "drift": watched, "retraining": retraining}


def test_a_deployment_of_a_declaration(declared: dict[str, Any], code: Path) -> None:
    (code / "requirements.txt").write_text("")
    model = declaration(declared, "flows.py:retrain", schedule={"cron": "0 3 * * 0", "timezone": "Europe/Berlin"})
    model["datasets"] = [{"name": "train", "path": "build/train.csv"}]
    [plan] = model_filters.model_plan([model], str(code))
    assert plan["flow"]["flow"] == f"{code}/flows.py:retrain"
    assert {"build/drift", "build/train.csv"} <= set(plan["flow"]["exclude"])
    result = {"version": "c0ffee", "entrypoint": "flows.py:retrain", "parameters": {"model": True, "episode": False}}
    [deployment] = model_filters.model_deployments([{"item": plan, **result}])
    assert (deployment["name"], deployment["flow"], deployment["parameters"]) == (
        "retrain-iris", "retrain", {"model": "iris"},
    )  # fmt: skip
    assert deployment["pull_steps"] == [{"mlops_runtime.pipelines.code.pull": {"model": "iris", "version": "c0ffee"}}]
    assert list(deployment["parameter_openapi_schema"]["properties"]) == ["model", "episode"]
    assert deployment["schedules"] == [{"slug": "declared", "cron": "0 3 * * 0", "timezone": "Europe/Berlin"}]
    [plan] = model_filters.model_plan(
        [declaration(declared, "flows.py:retrain", schedule={"interval": "2h"})], str(code)
    )
    assert plan["flow"]["schedules"] == [{"slug": "declared", "interval": 7200}]


@pytest.mark.parametrize(
    ("flow", "problem"),
    [
        ("flows.py:retrain", ""),
        ("flows.py:no", "has no function no"),
        ("none.py:retrain", "can't be read"),
        ("flows.py:other", "other needs what; give them defaults"),
    ],
)
def test_a_flow_that_could_not_be_started_is_said(
    declared: dict[str, Any], code: Path, tmp_path: Path, flow: str, problem: str
) -> None:
    model = declaration(declared, f"{code}/{flow}")
    found = [one for one in model_filters.model_problems([model], str(tmp_path)) if ".retraining.flow" in one]
    assert len(found) == bool(problem) and all(problem in one for one in found)
