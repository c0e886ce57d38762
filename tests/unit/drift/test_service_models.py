# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Which models the service watches: from MLflow's answers, whole or broken, and what the catalogue makes of them."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest
from mlops_runtime.contracts.broker import BrokerSettingsError
from mlops_runtime.contracts.settings import SettingsError, Tracking
from mlops_runtime.drift.artefact import Artefact
from mlops_runtime.drift.fitting import fit
from mlops_runtime.drift.service import catalogue as subject
from mlops_runtime.drift.service.catalogue import Catalogue, SourceError, Versions
from mlops_runtime.drift.service.directory import Directory
from mlops_runtime.drift.service.mlflow import Registry
from mlops_runtime.drift.service.settings import Settings, read_settings
from mlops_runtime.drift.stream import Standing

PROXY = "/api/2.0/mlflow-artifacts/artifacts"
SPEC = json.dumps({"drift": {"detectors": ["cusum"]}})


def artefact(directory: Path, model: str = "m") -> Path:
    rows = np.random.default_rng(1).normal(size=(50, 2))
    fit(rows, ["a", "b"], detectors=["cusum"], directory=directory, model=model)
    return directory


class MLflow:
    """What MLflow says; a fault breaks the next answers: a status, or `half` a body."""

    def __init__(self, folder: Path) -> None:
        self.models: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.version_tags: dict[str, str] = {}
        self.faults: list[int | str] = []
        self.requests: list[str] = []
        self.authorization: str | None = None
        for path in artefact(folder / "made").iterdir():
            self.files[f"1/run-1/artifacts/drift/{path.name}"] = path.read_bytes()
        mlflow = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mlflow.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def model(self, name: str, spec: str | None, **aliases: str) -> None:
        tags = [] if spec is None else [{"key": "mlops.spec", "value": spec}]
        listed = [{"alias": alias, "version": version} for alias, version in aliases.items()]
        self.models.append({"name": name, "tags": tags, "aliases": listed})

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.requests.append(handler.path)
        self.authorization = handler.headers.get("Authorization")
        fault = self.faults.pop(0) if self.faults else None
        body = self._body(handler.path)
        if isinstance(fault, int) or body is None:
            handler.send_error(fault if isinstance(fault, int) else 404)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2] if fault == "half" else body)

    def _body(self, address: str) -> bytes | None:
        parts = urlsplit(address)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path.endswith("registered-models/search"):
            # Two pages, always.
            if "page_token" in query:
                return json.dumps({"registered_models": self.models[1:]}).encode()
            return json.dumps({"registered_models": self.models[:1], "next_page_token": "2"}).encode()
        if parts.path.endswith("model-versions/get"):
            tags = [{"key": key, "value": value} for key, value in self.version_tags.items()]
            return json.dumps({"model_version": {"run_id": f"run-{query['version']}", "tags": tags}}).encode()
        if parts.path.endswith("runs/get"):
            uri = f"mlflow-artifacts:/1/{query['run_id']}/artifacts"
            return json.dumps({"run": {"info": {"artifact_uri": uri}}}).encode()
        if parts.path == PROXY:
            prefix = f"{query['path']}/"
            names = [path.removeprefix(prefix) for path in self.files if path.startswith(prefix)]
            return json.dumps({"files": [{"path": name, "is_dir": False} for name in names]}).encode()
        return self.files.get(unquote(parts.path).removeprefix(f"{PROXY}/"))


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[MLflow]:
    server = MLflow(tmp_path)
    yield server
    server.close()


def registry(mlflow: MLflow, tmp_path: Path) -> Registry:
    return Registry(
        Settings(
            {},
            tracking=Tracking(mlflow.address, "drift", "secret"),
            state_directory=tmp_path / "state",
        )
    )


def test_models_that_ask_for_it_in_the_versions_that_aliases_name(mlflow: MLflow, tmp_path: Path) -> None:
    mlflow.model("plain", None, champion="1")
    mlflow.model("m", SPEC, champion="1", shadow="1", old="7")
    mlflow.model("quiet", json.dumps({"image": "x"}), champion="1")
    mlflow.model("broken", "{", champion="1")
    source = registry(mlflow, tmp_path)
    found = source.read()
    assert list(found) == ["m"]
    assert found["m"].default == "1"
    assert isinstance(found["m"].versions["1"], Artefact)
    assert list(found["m"].versions) == ["1"]
    assert mlflow.authorization == "Basic ZHJpZnQ6c2VjcmV0"
    asked = len(mlflow.requests)
    source.read()
    assert len(mlflow.requests) == asked + 2, "an artefact is brought once"
    assert list((tmp_path / "state").iterdir()) == []


def test_a_version_without_an_artefact_is_not_watched_and_says_why(mlflow: MLflow, tmp_path: Path) -> None:
    mlflow.model("m", SPEC, champion="1", challenger="2")
    found = registry(mlflow, tmp_path).read()["m"]
    assert isinstance(found.versions["1"], Artefact)
    assert found.versions["2"] is Standing.UNWATCHED
    assert "no detectors were fitted at its training" in found.problems["2"]


def test_a_changed_artefact_is_refused(mlflow: MLflow, tmp_path: Path) -> None:
    mlflow.model("m", SPEC, champion="1")
    mlflow.version_tags["mlops.drift.sha256"] = "0" * 64
    found = registry(mlflow, tmp_path).read()["m"]
    assert found.versions["1"] is Standing.UNWATCHED
    assert "changed after it was registered" in found.problems["1"]


@pytest.mark.parametrize("fault", [500, 503, "half"])
@pytest.mark.parametrize("place", [2, 3, 4, 5])
def test_a_fault_while_an_artefact_is_brought_passes(
    mlflow: MLflow, tmp_path: Path, fault: int | str, place: int
) -> None:
    mlflow.model("m", SPEC, champion="1")
    mlflow.faults = [*["none"] * place, fault]
    source = registry(mlflow, tmp_path)
    assert source.read()["m"].versions["1"] is Standing.PENDING
    assert isinstance(source.read()["m"].versions["1"], Artefact)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "a\\b"])
def test_a_path_out_of_the_run_is_refused(mlflow: MLflow, tmp_path: Path, name: str) -> None:
    mlflow.model("m", SPEC, champion="1")
    mlflow.files[f"1/run-1/artifacts/drift/{name}"] = b"x"
    found = registry(mlflow, tmp_path).read()["m"]
    assert "no path below" in found.problems["1"]


def test_an_answer_that_is_none(mlflow: MLflow, tmp_path: Path) -> None:
    mlflow.faults = [503]
    with pytest.raises(SourceError, match="503"):
        registry(mlflow, tmp_path).read()


class Said:
    """A source that says what it is told to."""

    def __init__(self) -> None:
        self.models: Mapping[str, Versions] | SourceError = {}

    def read(self) -> Mapping[str, Versions]:
        if isinstance(self.models, SourceError):
            raise self.models
        return self.models


def test_a_version_that_nobody_knows_waits_for_an_answer_that_is_newer_than_its_record() -> None:
    source = Said()
    source.models = {"m": Versions({"1": Standing.UNWATCHED}, "1")}
    catalogue = Catalogue(source, 10)
    assert catalogue.find("m", "1", 0)[1] is Standing.PENDING
    catalogue.ask()
    assert catalogue.find("m", None, 0) == ("1", Standing.UNWATCHED)
    assert catalogue.find("m", "2", 0)[1] is Standing.UNKNOWN
    later = time.time() + 60
    assert catalogue.find("m", "3", later)[1] is Standing.PENDING
    assert catalogue.find("m", "2", later)[1] is Standing.UNKNOWN, "it was unknown a moment ago"
    source.models = {"m": Versions({"1": Standing.UNWATCHED, "3": Standing.UNWATCHED}, "1")}
    catalogue.ask()
    assert catalogue.find("m", "3", later)[1] is Standing.UNWATCHED


def test_a_version_that_lost_its_alias_is_watched_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Said()
    source.models = {"m": Versions({"1": Standing.UNWATCHED}, "1")}
    catalogue = Catalogue(source, 10)
    catalogue.ask()
    source.models = {"m": Versions({"2": Standing.UNWATCHED}, "2")}
    catalogue.ask()
    assert catalogue.find("m", "1", 0)[1] is Standing.UNWATCHED
    assert catalogue.find("m", None, 0)[0] == "2"
    assert catalogue.generation == 2
    assert not catalogue.names("m", "1") and catalogue.names("m", "2")
    monkeypatch.setattr(subject, "RETIRED_SECONDS", 0.0)
    catalogue.ask()
    assert catalogue.find("m", "1", 0)[1] is Standing.UNKNOWN
    assert catalogue.generation == 3, "who follows it may forget that version now"
    catalogue.ask()
    assert catalogue.generation == 3


def test_a_source_that_fails_leaves_the_answer_before() -> None:
    source = Said()
    source.models = {"m": Versions({"1": Standing.UNWATCHED}, "1")}
    catalogue = Catalogue(source, 10)
    catalogue.ask()
    source.models = SourceError("it is away")
    catalogue.ask()
    assert catalogue.find("m", "1", 0)[1] is Standing.UNWATCHED
    assert (catalogue.problem, catalogue.generation) == ("it is away", 1)


def test_a_directory_of_artefacts(tmp_path: Path) -> None:
    for version in ("9", "10"):
        artefact(tmp_path / "m" / version)
    artefact(tmp_path / "other" / "1", model="m")
    source = Directory(tmp_path)
    found = source.read()
    assert found["m"].default == "10"
    assert isinstance(found["m"].versions["9"], Artefact)
    assert "for the model 'm', not for 'other'" in found["other"].problems["1"]
    again = source.read()
    assert again["m"].versions["9"] is found["m"].versions["9"]
    with pytest.raises(SourceError, match="No such file"):
        Directory(tmp_path / "absent").read()


def test_settings(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    env = {
        "MLOPS_BROKER": "kafka:9092",
        "MLOPS_TOPIC_PREFIX": "p.",
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "MLFLOW_TRACKING_USERNAME": "drift",
        "MLFLOW_TRACKING_PASSWORD_FILE": str(tmp_path / "password"),
        "MLOPS_DRIFT_SNAPSHOT_SECONDS": "2.5",
    }
    found = read_settings(env)
    assert (found.state_topic, found.snapshot_seconds, found.tracking.password) == ("p.__drift_state", 2.5, "secret")
    assert "secret" not in repr(found)
    for name, value, says in (
        ("MLOPS_DRIFT_SNAPSHOT_SECONDS", "soon", "MLOPS_DRIFT_SNAPSHOT_SECONDS: 'soon' is not a number"),
        ("MLOPS_DRIFT_PORT", "70000", "MLOPS_DRIFT_PORT"),
        ("MLFLOW_TRACKING_URI", "", "neither MLFLOW_TRACKING_URI nor MLOPS_DRIFT_MODELS"),
        ("MLFLOW_TRACKING_PASSWORD_FILE", "/absent", "MLFLOW_TRACKING_PASSWORD_FILE"),
    ):
        with pytest.raises(SettingsError, match=says):
            read_settings({**env, name: value})
    with pytest.raises(BrokerSettingsError, match="MLOPS_BROKER"):
        read_settings({**env, "MLOPS_BROKER": ""})


def test_another_artefact_of_the_same_version_is_taken_up(mlflow: MLflow, tmp_path: Path) -> None:
    mlflow.model("m", SPEC, champion="1")
    source = registry(mlflow, tmp_path)
    first = source.read()["m"].versions["1"]
    assert isinstance(first, Artefact)
    _look_again(source)
    asked = len(mlflow.requests)
    assert source.read()["m"].versions["1"] is first
    assert not any("artifacts" in path for path in mlflow.requests[asked:])  # one look at the tag is enough
    mlflow.version_tags["mlops.drift.sha256"] = "0" * 64
    _look_again(source)
    assert source.read()["m"].versions["1"] is Standing.UNWATCHED  # what is there isn't what was registered
    mlflow.version_tags["mlops.drift.sha256"] = first.sha256
    _look_again(source)
    again = source.read()["m"].versions["1"]
    assert isinstance(again, Artefact)
    assert again.sha256 == first.sha256


def _look_again(source: Registry) -> None:
    source._versions = {key: replace(found, again_at=0.0) for key, found in source._versions.items()}
