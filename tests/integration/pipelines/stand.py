# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The servers of the tests beside the libraries whose names they have, and what is put into them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[3]
SERVERS = ROOT / "tests" / "servers"
EXAMPLES = ROOT / "examples"
EXAMPLE = EXAMPLES / "phishing"
sys.path[:0] = [str(ROOT / "runtime" / "src"), str(ROOT / "plugins" / "module_utils"), str(ROOT / ".collections")]
sys.path.append(str(SERVERS))  # behind the libraries mlflow and prefect, which are meant where they are imported


def _server(name: str) -> ModuleType:
    """A module of tests/servers under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"{name}_server", SERVERS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_mlflow, _prefect = _server("mlflow"), _server("prefect")
Mlflow, Prefect = _mlflow.Mlflow, _prefect.Prefect
ADMIN, PASSWORD, AUTH = _mlflow.ADMIN, _mlflow.PASSWORD, _prefect.AUTH

from _model_spec import parse_model  # noqa: E402 - found only now
from mlops_runtime.contracts.mlflow import Mlflow as Client  # noqa: E402
from mlops_runtime.contracts.settings import Tracking  # noqa: E402
from mlops_runtime.drift.archive.chunk import LABELS, RECORDS, Message, files_of  # noqa: E402
from mlops_runtime.drift.archive.store import Chunk, Store  # noqa: E402

TARGET = "is_phishing"
TAGS = {"mlops.environment": "model-0123456789ab", "mlops.image": "registry:5000/model@sha256:01"}


def pipelines_python() -> Path:
    """Of the environment that the example's flow runs in."""
    given = {**os.environ, "MLOPS_PYTHON": sys.executable}
    command = [ROOT / "bin" / "python-env", "pipelines"]
    made = subprocess.run(command, env=given, stdout=subprocess.PIPE, text=True, check=True, timeout=900)
    return Path(made.stdout.strip()) / "bin" / "python"


def trained(example: Path, python: Path, folder: Path) -> Path:
    """An example as `bin/site` trains it, by what its flow runs with."""
    given = {"PYTHONPATH": str(ROOT / "runtime" / "src"), "MLOPS_DETECTORS": '["ewma", "rff"]'}
    command = [python, example / "train.py", "--output", folder]
    subprocess.run(command, env={**os.environ, **given}, check=True, timeout=600)
    return folder


def eventually(condition: Callable[[], Any], seconds: float = 120, what: object = "") -> Any:
    """What the condition answers once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not in {seconds} s: {what() if callable(what) else what}"
        time.sleep(0.2)
    return found


@dataclass(frozen=True)
class Model:
    """A registered model of one test, with a champion as site.yml makes one."""

    name: str
    site: Site

    @property
    def registered(self) -> dict[str, Any]:
        return dict(self.site.mlflow.api("GET", f"registered-models/get?name={self.name}")["registered_model"])

    @property
    def champion(self) -> str:
        return {item["alias"]: item["version"] for item in self.registered.get("aliases", [])}.get("champion", "")

    @property
    def versions(self) -> list[str]:
        query = f"model-versions/search?filter=name%3D%27{self.name}%27"
        found = self.site.mlflow.api("GET", query).get("model_versions", [])
        return sorted(item["version"] for item in found)

    def version(self, number: str) -> dict[str, Any]:
        query = f"model-versions/get?name={self.name}&version={number}"
        return dict(self.site.mlflow.api("GET", query)["model_version"])

    def tags(self, number: str) -> dict[str, str]:
        return {tag["key"]: tag["value"] for tag in self.version(number).get("tags", [])}

    def run(self, number: str) -> dict[str, Any]:
        run = self.version(number)["run_id"]
        return dict(self.site.mlflow.api("GET", f"runs/get?run_id={run}")["run"])

    def artefacts(self, number: str) -> Path:
        """A run's artefacts where the server keeps them."""
        uri = self.run(number)["info"]["artifact_uri"]
        return Path(self.site.mlflow.directory / "artifacts" / uri.removeprefix("mlflow-artifacts:/").lstrip("/"))

    def runs(self) -> list[dict[str, Any]]:
        """Of its retrainings, trials included."""
        found = self.site.mlflow.api("GET", f"experiments/get-by-name?experiment_name=retraining-{self.name}")
        body = {"experiment_ids": [found["experiment"]["experiment_id"]], "max_results": 1000}
        return list(self.site.mlflow.api("POST", "runs/search", body).get("runs", []))

    def episode(self, episode: str) -> dict[str, Any]:
        """The run of an episode."""
        for run in self.runs():
            tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
            if tags.get("mlops.episode") == episode:
                return {**run, "tags": tags}
        raise AssertionError(f"no run of {episode}")

    def move(self, version: str) -> None:
        body = {"name": self.name, "alias": "champion", "version": version}
        self.site.mlflow.api("POST", "registered-models/alias", body)

    def ask(self, rows: pd.DataFrame, *, labelled: bool = True, first: int = 0) -> None:
        """Archives rows as requests of this moment, in their order, and what they really were as their labels."""
        start = datetime.now(UTC)
        records, labels = [], []
        target, classes = self.site.target, self.site.train[self.site.target].nunique()
        features = [name for name in rows.columns if name != target]
        for place, values in enumerate(rows.to_dict("records")):
            when = start + timedelta(microseconds=place)
            record = {
                "schema": 1, "model": self.name, "version": "1", "id": f"id-{first + place}", "ts": when.isoformat(),
                "names": features, "X": [[values[name] for name in features]], "Y": [[1 / classes] * classes],
            }  # fmt: skip
            label = {"id": record["id"], "y": [values[target]], "ts": when.isoformat()}
            for messages, document in ((records, record), (labels, label)):
                time = int(when.timestamp() * 1000)
                messages.append(Message(first + place, record["id"].encode(), json.dumps(document).encode(), time))
        self.site.archive(self.name, RECORDS, records)
        if labelled:
            self.site.archive(self.name, LABELS, labels)


class Site:
    """One MLflow, the trained example, and what is made of both."""

    def __init__(
        self,
        mlflow: Any,
        build: Path,
        call: Callable[..., dict[str, Any]],
        example: Path = EXAMPLE,
        target: str = TARGET,
    ) -> None:
        self.mlflow = mlflow
        self.build = build
        self.call = call
        self.example = example
        self.target = target
        self.client = Client(Tracking(mlflow.uri, ADMIN, PASSWORD))

    @property
    def train(self) -> pd.DataFrame:
        return pd.read_csv(self.build / "train.csv")

    @property
    def test(self) -> pd.DataFrame:
        return pd.read_csv(self.build / "test.csv")

    def campaign(self, count: int = 300, seed: int = 1) -> pd.DataFrame:
        """Pages of a kind that the champion takes for legitimate, among as many usual ones."""
        pages = pd.concat([self.train, self.test])
        sound = pages[pages[TARGET] == 0].sample(count, replace=True, random_state=seed)
        kind = sound.assign(ip_in_url=1.0, age_of_domain=0.0, **{TARGET: 1})
        usual = pages.sample(count, replace=True, random_state=seed + 1)
        return pd.concat([kind, usual]).sample(frac=1, random_state=seed + 2)

    def model(self, *, datasets: bool = True, drift: bool = True, **retraining: Any) -> Model:
        """The example with these words on retraining, registered by the collection's own modules."""
        name = f"m-{uuid.uuid4().hex[:10]}"
        declared = yaml.safe_load((self.example / "model.yml").read_text())
        gate = {"metric": "f1", "maximum_loss": 0.1}
        declared |= {"name": name, "retraining": {"flow": "flows.py:retrain", "on": [{"drift": True}], "gate": gate}}
        declared["retraining"] |= retraining
        if not drift:
            declared.pop("drift")
            declared["retraining"]["on"] = [{"promql": "up", "below": 1}]
        spec, problems = parse_model(declared, name)
        assert spec and not problems, problems
        kept = [{"name": kind, "path": str(self.build / f"{kind}.csv"), "context": kind} for kind in ("train", "test")]
        given: dict[str, Any] = {"path": str(self.build / "model"), "drift": str(self.build / "drift"), "tags": TAGS}
        self.call("mlflow_model_version", name=name, **given, **({"datasets": kept} if datasets else {}))
        self.call("mlflow_registered_model", name=name, spec=json.loads(spec.to_tag()), aliases={"champion": "1"})
        return Model(name, self)

    def archive(self, model: str, kind: str, messages: list[Message]) -> None:
        """As the archive's service writes a chunk."""
        files, refused = files_of(kind, 0, messages)
        assert not refused
        topic = f"predictions.{model}" + (".labels" if kind == LABELS else "")
        Store(self.client).write(Chunk(model, kind, topic, 0, messages[0], messages[-1], files, 0))
