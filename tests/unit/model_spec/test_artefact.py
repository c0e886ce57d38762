# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Fitted detectors on the control host: what is seen of them before anything is registered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec import parse_model, preparation
from ansible_collections.mlops.onprem.plugins.plugin_utils import model_filters as filters

ARRAYS = b"PK\x05\x06" + bytes(18)
RFF = {"kind": "rff", "expected_run_time": 20000}
SIGNATURE = """signature:
  inputs: '[{"type": "double", "name": "length", "required": true}, {"type": "double",
    "name": "ip", "required": true}]'
"""


@pytest.fixture
def watched(declared: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The shortest declaration of a model that is watched, with its artefact."""
    (tmp_path / "model/MLmodel").write_text(SIGNATURE)
    folder = tmp_path / "drift"
    folder.mkdir()
    sha256 = hashlib.sha256(ARRAYS).hexdigest()
    entries = []
    for name, parameters in {"ewma": {}, "rff": {"expected_run_time": 20000}}.items():
        (folder / f"{name}.npz").write_bytes(ARRAYS)
        entry = {"name": name, "kind": name, "parameters": parameters, "arrays": f"{name}.npz", "sha256": sha256}
        entries.append(entry)
    features = [{"name": name, "kind": "numeric"} for name in ("length", "ip")]
    manifest = {"format": 1, "model": "iris", "rows": 10, "features": features, "detectors": entries}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return {**declared, "drift": {"detectors": ["ewma", RFF], "artefact": "drift"}}


def edit(folder: Path, **changes: Any) -> None:
    file = folder / "drift/manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_whole_artefact_has_no_problems(watched: dict[str, Any], tmp_path: Path) -> None:
    assert filters.model_problems([watched], str(tmp_path)) == []
    (plan,) = filters.model_plan([watched], str(tmp_path))
    assert (plan["drift"], plan["ready"]) == (str(tmp_path / "drift"), True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "drift/manifest.json").unlink(), "drift has no manifest.json; name the directory"),
        (lambda folder: (folder / "drift").rename(folder / "away"), "drift does not exist; name the directory"),
        (lambda folder: (folder / "drift/manifest.json").write_text("{"), "manifest.json is not JSON"),
        (lambda folder: (folder / "drift/manifest.json").write_text("{}"), "is no manifest of fitted detectors"),
        (lambda folder: edit(folder, format=2), "has the format 2, and this release reads up to 1"),
        (lambda folder: edit(folder, model="wine"), "drift was fitted for the model 'wine', not for 'iris'"),
        (
            lambda folder: edit(folder, features=[{"name": "petal"}]),
            "was fitted on petal, and the model's signature has",
        ),
        (lambda folder: (folder / "drift/rff.npz").unlink(), "drift lacks rff.npz"),
        (lambda folder: (folder / "drift/rff.npz").write_bytes(b"other"), "has a rff.npz that is not the one"),
        (lambda folder: edit(folder, detectors=[]), "has other detectors than are declared: none in the place of ewma"),
    ],
)
def test_a_spoilt_artefact_is_one_problem(
    watched: dict[str, Any], tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(tmp_path)
    (found,) = filters.model_problems([watched], str(tmp_path))
    assert found.startswith("mlops_models[0].drift.artefact: ") and message in found


def test_parameters_are_part_of_what_was_declared(watched: dict[str, Any], tmp_path: Path) -> None:
    watched["drift"]["detectors"] = ["ewma", {"kind": "rff", "expected_run_time": 5000}]
    (found,) = filters.model_problems([watched], str(tmp_path))
    assert "20000" in found and "5000" in found
    with pytest.raises(AnsibleFilterError, match="has other detectors than are declared"):
        filters.model_plan([watched], str(tmp_path))


def test_a_model_without_a_signature_is_not_compared(watched: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "model/MLmodel").write_text("flavors: {}\n")
    edit(tmp_path, features=[{"name": "petal"}])
    assert filters.model_problems([watched], str(tmp_path)) == []


def test_what_training_is_about_to_make_has_no_problems_yet(watched: dict[str, Any], tmp_path: Path) -> None:
    watched["source"]["prepare"] = {"command": ["true"]}
    watched["drift"]["artefact"] = "yet/drift"
    assert filters.model_problems([watched], str(tmp_path)) == []
    (plan,) = filters.model_plan([watched], str(tmp_path))
    assert not plan["ready"]
    assert str(tmp_path / "yet/drift") in plan["prepare"]["outputs"]


def test_other_detectors_are_a_reason_to_train_again(watched: dict[str, Any], tmp_path: Path) -> None:
    watched["source"]["prepare"] = {"command": ["true"]}

    def prepared() -> Any:
        spec = parse_model(watched, "m")[0]
        assert spec is not None
        return preparation(spec, tmp_path)

    first = prepared()
    assert json.loads(first.environment["MLOPS_DETECTORS"]) == ["ewma", RFF]
    Path(first.stamp).write_text(first.digest)
    assert prepared() is None
    watched["drift"]["detectors"] = ["ewma"]
    assert "detectors or inputs have changed" in prepared().why


@pytest.mark.parametrize(
    ("declared_more", "components", "message"),
    [
        ({}, ["mlflow", "kafka", "drift_detector"], ""),
        ({}, [], ""),
        ({}, ["mlflow", "kafka"], "mlops_models[0].drift: needs drift_detector; add it to mlops_components"),
        ({}, ["mlflow"], "mlops_models[0].drift: needs kafka and drift_detector; add them to mlops_components"),
        (
            {"retraining": {"action": "notify", "on": [{"drift": True}], "promotion": "manual"}},
            ["mlflow", "kafka", "drift_detector"],
            "mlops_models[0].retraining: needs the lifecycle controller; take mlops_loop: false away",
        ),
        ({"drift": None, "records": {}}, ["mlflow"], "mlops_models[0].records: needs kafka; add it"),
        ({"drift": None, "records": {}}, ["mlflow", "kafka"], ""),
    ],
)
def test_what_no_component_does_is_said(
    watched: dict[str, Any], tmp_path: Path, declared_more: dict[str, Any], components: list[str], message: str
) -> None:
    found = filters.model_problems([{**watched, **declared_more}], str(tmp_path), components)
    assert len(found) == bool(message)
    assert all(message in line for line in found)


JOB = {
    "image": "kafka",
    "kind": "job",
    "env": {"MLOPS_BROKER": "kafka:9093"},
    "secrets": [{"name": "kafka_certificate"}],
}


def test_each_logged_model_has_its_topics(watched: dict[str, Any], tmp_path: Path) -> None:
    models = [watched, {**watched, "name": "plain", "drift": None}]
    models.append({**models[1], "name": "busy", "records": {"partitions": 4, "retention": "2d"}})
    (job,) = filters.model_topics(models, str(tmp_path), {"prefix": "p.", "job": JOB})
    assert (job["name"], job["zone"], job["secrets"]) == ("topics-of-models", "stream", JOB["secrets"])
    assert job["env"]["MLOPS_BROKER"] == "kafka:9093"
    assert json.loads(job["env"]["MLOPS_TOPICS"]) == [
        {"name": "p.iris", "partitions": 1},
        {"name": "p.iris.labels", "partitions": 1},
        {"name": "p.iris.dead", "partitions": 1},
        {"name": "p.busy", "partitions": 4, "retention": "2d"},
        {"name": "p.busy.labels", "partitions": 4, "retention": "2d"},
        {"name": "p.busy.dead", "partitions": 1, "retention": "2d"},
    ]


@pytest.mark.parametrize("broker", [{}, {"prefix": "p.", "job": {}}])
def test_where_nobody_makes_topics_there_is_no_job(watched: dict[str, Any], tmp_path: Path, broker: Any) -> None:
    assert filters.model_topics([watched], str(tmp_path), broker) == []


def test_without_logged_models_there_is_no_job(declared: dict[str, Any], tmp_path: Path) -> None:
    assert filters.model_topics([declared], str(tmp_path), {"prefix": "p.", "job": JOB}) == []
