# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Fitted drift detectors go with a version's run, are replaced in place, and are no part of what it is known by."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import fitted
from mlflow_server import ROOT, Call, Proxy, Server

sys.path.insert(0, str(ROOT / "runtime" / "src"))

from mlops_runtime.contracts.settings import Tracking
from mlops_runtime.drift.artefact import Artefact
from mlops_runtime.drift.fitting import fit
from mlops_runtime.drift.service.mlflow import Registry
from mlops_runtime.drift.service.settings import Settings

READ = """
import json, sys, mlflow
folder = mlflow.artifacts.download_artifacts(f"runs:/{sys.argv[1]}/drift")
import pathlib
print(json.dumps({path.name: path.read_text() for path in pathlib.Path(folder).iterdir()}))
"""
TAG = "mlops.drift.sha256"


def stored(server: Server, run_id: str) -> dict[str, str]:
    """As MLflow's own client finds them."""
    return dict(json.loads(server.python(READ, run_id)))


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def drift(tmp_path: Path) -> Path:
    fitted(tmp_path / "drift", "ewma", "rff")
    return tmp_path / "drift"


def test_they_are_stored_once(server: Server, call: Call, tiny: Path, drift: Path) -> None:
    options: dict[str, Any] = {"name": "watched", "path": str(tiny), "drift": str(drift)}
    would = call("mlflow_model_version", check=True, **options)
    made = call("mlflow_model_version", **options)
    version = made["model_version"]
    told = hashlib.sha256((drift / "manifest.json").read_bytes()).hexdigest()
    assert would["model_version"]["tags"][TAG] == version["tags"][TAG] == told
    assert stored(server, version["run_id"]) == content(drift)
    for check in (True, False):
        assert not call("mlflow_model_version", check=check, **options)["changed"]
    assert not call("mlflow_model_version", name="watched", path=str(tiny))["changed"], "not given: left as they are"
    purged = call("mlflow_model_version", name="watched", path=str(tiny), purge_tags=True)
    assert not purged["changed"], purged["diff"]


def test_other_ones_replace_them_and_the_version_stays(server: Server, call: Call, tiny: Path, drift: Path) -> None:
    options: dict[str, Any] = {"name": "refitted", "path": str(tiny), "drift": str(drift)}
    first = call("mlflow_model_version", **options)["model_version"]
    (drift / "rff.npz").write_text("fitted anew")
    (drift / "manifest.json").write_text('{"format": 1, "detectors": [{"name": "rff"}]}')
    would = call("mlflow_model_version", check=True, **options)
    assert would["changed"] and stored(server, first["run_id"])["rff.npz"] != "fitted anew"
    again = call("mlflow_model_version", **options)
    assert again["changed"] and not again["registered"]
    assert would["diff"] == again["diff"]
    assert again["diff"]["before"]["tags"][TAG] != again["diff"]["after"]["tags"][TAG]
    assert again["model_version"]["version"] == first["version"]
    assert stored(server, first["run_id"]) == content(drift)
    assert not call("mlflow_model_version", **options)["changed"]


def test_a_version_without_any_gets_them_later(server: Server, call: Call, tiny: Path, drift: Path) -> None:
    version = call("mlflow_model_version", name="later", path=str(tiny))["model_version"]
    assert TAG not in version["tags"]
    given = call("mlflow_model_version", name="later", version=version["version"], drift=str(drift))
    assert given["changed"] and stored(server, version["run_id"]) == content(drift)


def test_a_runs_model_keeps_them_with_that_run(server: Server, call: Call, tiny: Path, drift: Path) -> None:
    origin = call("mlflow_model_version", name="ran", path=str(tiny))["model_version"]
    copied: dict[str, Any] = {"name": "ran-2", "run_id": origin["run_id"], "artifact_path": "model"}
    made = call("mlflow_model_version", **copied, drift=str(drift))["model_version"]
    assert made["tags"][TAG] and stored(server, origin["run_id"]) == content(drift)
    assert not call("mlflow_model_version", **copied, drift=str(drift))["changed"]


def test_who_has_no_run_has_no_place_for_them(server: Server, call: Call, drift: Path) -> None:
    result = call("mlflow_model_version", name="runless", source="s3://bucket/model", drift=str(drift))
    assert result["failed"] and "drift: s3://bucket/model comes from no run" in result["msg"]
    assert "runless" not in server.state()["registered_models"]


def test_what_failed_on_the_way_is_stored_by_the_next_call(
    server: Server, call: Call, proxy: Proxy, tiny: Path, drift: Path
) -> None:
    """The manifest is the last: until it is there, what is stored is the old one's."""
    options: dict[str, Any] = {"name": "broken", "path": str(tiny), "drift": str(drift)}
    version = call("mlflow_model_version", **options)["model_version"]
    before = content(drift)
    (drift / "ewma.npz").write_text("new")
    (drift / "manifest.json").write_text('{"format": 1, "detectors": []}')
    proxy.fault = lambda method, path, times: 500 if method == "PUT" and "manifest" in path else None
    failed = call("mlflow_model_version", **options, tracking_uri=proxy.uri)
    assert failed["failed"] and "the disk is full" in failed["msg"]
    assert stored(server, version["run_id"]) == before | {"ewma.npz": "new"}
    proxy.fault = lambda method, path, times: None
    assert call("mlflow_model_version", **options, tracking_uri=proxy.uri)["changed"]
    assert stored(server, version["run_id"]) == content(drift) | {"rff.npz": before["rff.npz"]}


def test_the_service_takes_what_was_kept_as_a_user_that_may_only_read(
    server: Server, call: Call, tiny: Path, tmp_path: Path
) -> None:
    """The other end of the contract: who watches finds the version, its artefact and the hash to hold it to."""
    read = [{"resource": kind, "name": "*", "permission": "READ"} for kind in ("registered_model", "experiment")]
    call("mlflow_user", users=[{"name": "drift", "password": "drifts-password", "permissions": read}])
    options: dict[str, Any] = {"name": "served", "path": str(tiny), "drift": str(tmp_path / "fitted")}
    settings = Settings(
        broker={},
        tracking=Tracking(server.uri, "drift", "drifts-password"),
        state_directory=tmp_path / "state",
    )
    declared = [{"kind": "ewma", "expected_run_time": 100}]
    for rows in (300, 400):
        reference = {"a": np.random.default_rng(0).random(rows)}
        fit(reference, detectors=declared, directory=tmp_path / "fitted", model="served")
        sha256 = hashlib.sha256((tmp_path / "fitted/manifest.json").read_bytes()).hexdigest()
        call("mlflow_model_version", **options, aliases=["champion"])
        call("mlflow_registered_model", name="served", spec={"name": "served", "drift": {"detectors": declared}})
        known = Registry(settings).read()["served"]
        found = known.versions["1"]
        assert isinstance(found, Artefact), known.problems
        assert (known.default, found.sha256, found.rows) == ("1", sha256, rows)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: folder.rename(folder.parent / "away"), "does not exist on the host"),
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json can't be read"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "is no manifest of fitted detectors"),
    ],
)
def test_what_is_no_artefact(server: Server, call: Call, tiny: Path, drift: Path, spoil: Any, message: str) -> None:
    spoil(drift)
    result = call("mlflow_model_version", name="spoilt", path=str(tiny), drift=str(drift))
    assert result["failed"] and result["msg"].startswith("drift: ") and message in result["msg"]
    assert "spoilt" not in server.state()["registered_models"]


def test_the_name_of_their_place_is_taken(call: Call, tiny: Path, drift: Path) -> None:
    taken = [{"path": str(drift), "artifact_path": "drift"}]
    result = call("mlflow_model_version", name="taken", path=str(tiny), artifacts=taken)
    assert result["failed"] and "drift is kept for the model, its datasets or its detectors" in result["msg"]
