# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The role's way into a real registry: versions, the champion, and aliases that the registry owns."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: mlops.onprem.model, tasks_from: "{{ item }}"}
      loop: [prepare, register]
    - ansible.builtin.copy:
        content: "{{ {'served': __model_served, 'prepared': prepared} | to_json }}"
        dest: "{{ result_file }}"
        mode: "0600"
      check_mode: false
      changed_when: false
      vars:
        prepared: "{{ __model_prepared.results | map(attribute='item.name') | list }}"
  vars:
    images: "{{ model_declarations | mlops.onprem.model_plan(model_directory) | map(attribute='image') | list }}"
    mlops_images: "{{ dict(images | zip(images)) }}"
"""


@dataclass
class Mlflow:
    url: str

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}/api/2.0/mlflow/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.loads(answer.read() or b"{}"))

    def model(self, name: str) -> dict[str, Any]:
        return dict(self.call("GET", f"registered-models/get?name={name}")["registered_model"])

    def aliases(self, name: str) -> dict[str, str]:
        return {alias["alias"]: alias["version"] for alias in self.model(name).get("aliases", [])}

    def move(self, name: str, alias: str, version: str) -> None:
        self.call("POST", "registered-models/alias", {"name": name, "alias": alias, "version": version})

    def remove(self, name: str, alias: str) -> None:
        self.call("DELETE", "registered-models/alias", {"name": name, "alias": alias})


@dataclass
class Outcome:
    code: int
    output: str
    changed: int
    served: dict[str, dict[str, str]] = field(default_factory=dict)
    prepared: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    made = subprocess.run(
        [ROOT / "bin/python-env", "mlflow-server"], capture_output=True, text=True, check=True, timeout=600
    )
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        f"{made.stdout.strip()}/bin/mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/db.sqlite", "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    server = Mlflow(f"http://127.0.0.1:{port}")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder)
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"{server.url}/health", timeout=2).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"MLflow didn't start:\n{(folder / 'log').read_text()[-2000:]}")
                time.sleep(0.5)
        yield server
    finally:
        # Its workers heed SIGTERM only when their connections are closed; there is nothing here to keep.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


@pytest.fixture
def register(mlflow: Mlflow, tmp_path: Path) -> Callable[..., Outcome]:
    """Runs the role's preparation and registration for declarations whose paths count from ``tmp_path``."""

    def play(models: list[Any], *arguments: str, url: str = mlflow.url) -> Outcome:
        playbook, result = tmp_path / "play.yml", tmp_path / "result.json"
        playbook.write_text(PLAYBOOK)
        result.unlink(missing_ok=True)
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "mlops_models": models,
            "model_directory": str(tmp_path),
            "model_tracking_uri": url,
            "model_tracking_host_header": "",
            "model_tracking_ca": "",
            "mlops_secret_values": {"mlflow_registrar_password": "not-asked-for-here"},
            "result_file": str(result),
        }
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "MLOPS_CACHE": str(tmp_path / "cache"),
        }
        done = subprocess.run(
            [program, "-i", "localhost,", str(playbook), "-e", json.dumps(variables), *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        output = done.stdout + done.stderr
        recap = output.partition("PLAY RECAP")[2]
        changed = int(recap.partition("changed=")[2].split()[0]) if recap else -1
        kept = json.loads(result.read_text()) if result.exists() else {}
        return Outcome(done.returncode, output, changed, kept.get("served", {}), kept.get("prepared", []))

    return play


@pytest.fixture
def source(tmp_path: Path) -> Callable[[str], None]:
    """Writes a model directory with that content, and a lock."""

    def write(content: str) -> None:
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model/MLmodel").write_text(f"flavors: {{}}\nmetadata: {{content: {content}}}\n")
        (tmp_path / "requirements.txt").write_text("numpy==2.0.0 --hash=sha256:aa\n")

    return write


Register = Callable[..., Outcome]
Source = Callable[[str], None]


def declared(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "source": {"path": "model"}, "requirements": "requirements.txt", **more}


def test_the_first_version_is_champion_and_later_ones_wait(mlflow: Mlflow, register: Register, source: Source) -> None:
    source("one")
    first = register([declared("waits", description="A model", tags={"team": "risk"})])
    assert first.code == 0, first.output
    assert first.served["waits"]["version"] == "1"
    assert mlflow.aliases("waits") == {"champion": "1"}
    tags = {tag["key"]: tag["value"] for tag in mlflow.model("waits")["tags"]}
    assert json.loads(tags["mlops.spec"])["name"] == "waits"
    assert tags["team"] == "risk"

    again = register([declared("waits", description="A model", tags={"team": "risk"})])
    assert (again.code, again.changed) == (0, 0), again.output

    source("two")
    second = register([declared("waits")])
    assert second.code == 0, second.output
    assert second.served["waits"]["version"] == "1"
    assert second.served["waits"]["sha256"] == first.served["waits"]["sha256"]

    mlflow.move("waits", "champion", "2")
    source("one")
    back = register([declared("waits")])
    assert (back.code, back.served["waits"]["version"]) == (0, "2"), back.output
    assert mlflow.aliases("waits") == {"champion": "2"}, "an alias that somebody moved isn't moved back"

    mlflow.remove("waits", "champion")
    without = register([declared("waits")])
    assert (without.code, without.served) == (0, {}), without.output
    assert mlflow.aliases("waits") == {}


def test_promote_always_makes_each_new_version_champion(mlflow: Mlflow, register: Register, source: Source) -> None:
    for number, content in enumerate(("one", "two"), 1):
        source(content)
        done = register([declared("always", promote="always")])
        assert done.code == 0, done.output
        assert done.served["always"]["version"] == str(number)
        assert mlflow.aliases("always") == {"champion": str(number)}


def test_the_champion_keeps_its_own_environment(register: Register, source: Source, tmp_path: Path) -> None:
    source("one")
    first = register([declared("keeps")])
    source("two")
    (tmp_path / "requirements.txt").write_text("numpy==2.1.0 --hash=sha256:bb\n")
    second = register([declared("keeps")])
    assert second.code == 0, second.output
    assert second.served["keeps"] == first.served["keeps"]


def test_check_mode_on_a_blank_host(register: Register, source: Source) -> None:
    source("one")
    done = register([declared("blank")], "--check", "--diff", url="http://127.0.0.1:9")
    assert done.code == 0, done.output
    assert done.served["blank"]["version"] == "new"
    assert done.changed == 2


def test_check_mode_where_the_source_has_yet_to_be_made(register: Register, source: Source, tmp_path: Path) -> None:
    source("one")
    prepare = {"path": "build/model", "prepare": {"command": ["cp", "-r", "model", "build/"]}}
    done = register([declared("yet", source=prepare)], "--check", url="http://127.0.0.1:9")
    assert done.code == 0, done.output
    assert not (tmp_path / "build").exists()


def test_a_prepared_source_is_made_once(mlflow: Mlflow, register: Register, source: Source, tmp_path: Path) -> None:
    source("one")
    script = "mkdir -p build && cp -r model build/ && echo made the model"
    value = declared(
        "made", source={"path": "build/model", "prepare": {"command": ["sh", "-c", script], "inputs": ["model"]}}
    )
    first = register([value])
    assert (first.code, first.prepared) == (0, ["made"]), first.output
    assert "made the model" in first.output
    again = register([value])
    assert (again.code, again.changed, again.prepared) == (0, 0, []), again.output


def test_a_preparation_that_fails_says_why_and_runs_again(register: Register, source: Source) -> None:
    source("one")
    value = declared(
        "fails", source={"path": "build/model", "prepare": {"command": ["sh", "-c", "echo no data; exit 3"]}}
    )
    for _ in range(2):
        done = register([value])
        assert done.code != 0
        assert "Model fails can't be prepared" in done.output and "ended with 3" in done.output
        assert "no data" in done.output


FIT = """
import json, os, pathlib, shutil
import numpy
from mlops_runtime.drift.artefact import Artefact, FittedDetector, write
from mlops_runtime.drift.fitting import Declaration
from mlops_runtime.drift.protocol import Feature
from mlops_runtime.drift.schema import Column, Schema

declared = [Declaration.parse(one) for one in json.loads(os.environ["MLOPS_DETECTORS"])]
fitted = tuple(FittedDetector(one.name, one.kind, one.parameters, {"zeros": numpy.zeros(3)}) for one in declared)
schema = Schema([Column(Feature("length"), 0, 1)])
write(Artefact("watched", "2026-01-01T00:00:00Z", 10, schema, fitted), pathlib.Path("build/drift"))
shutil.copytree("model", "build/model", dirs_exist_ok=True)
"""


def test_what_training_fitted_goes_with_the_version(
    mlflow: Mlflow, register: Register, source: Source, tmp_path: Path
) -> None:
    """The command finds what fits, and is told what; other detectors of the same model are no new version."""
    source("one")
    (tmp_path / "fit.py").write_text(FIT)
    prepare = {"path": "build/model", "prepare": {"command": [sys.executable, "fit.py"], "inputs": ["fit.py"]}}

    def value(*detectors: Any) -> dict[str, Any]:
        return declared("watched", source=prepare, drift={"detectors": list(detectors), "artefact": "build/drift"})

    tags = []
    for detectors in (["ewma"], ["ewma", {"kind": "rff", "expected_run_time": 5000}]):
        done = register([value(*detectors)])
        assert (done.code, done.prepared) == (0, ["watched"]), done.output
        assert done.served["watched"]["version"] == "1"
        again = register([value(*detectors)])
        assert (again.code, again.changed) == (0, 0), again.output
        version = mlflow.call("GET", "model-versions/get?name=watched&version=1")["model_version"]
        tags.append({tag["key"]: tag["value"] for tag in version["tags"]}["mlops.drift.sha256"])
        kept = mlflow.call("GET", f"artifacts/list?run_id={version['run_id']}&path=drift")["files"]
        names = sorted(Path(file["path"]).name for file in kept)
        assert names == sorted(["manifest.json", *(f"{name}.npz" for name in ("ewma", "rff")[: len(detectors)])])
    assert tags[0] != tags[1]
    spec = {tag["key"]: tag["value"] for tag in mlflow.model("watched")["tags"]}["mlops.spec"]
    assert json.loads(spec)["drift"] == {"detectors": ["ewma", {"kind": "rff", "expected_run_time": 5000}]}


def test_a_training_that_fits_something_else_is_stopped(register: Register, source: Source, tmp_path: Path) -> None:
    source("one")
    (tmp_path / "fit.py").write_text(FIT.replace('os.environ["MLOPS_DETECTORS"]', "'[\"rff\"]'"))
    prepare = {"path": "build/model", "prepare": {"command": [sys.executable, "fit.py"]}}
    drift = {"detectors": ["ewma"], "artefact": "build/drift"}
    done = register([declared("watched", source=prepare, drift=drift)])
    assert done.code != 0
    assert "mlops_models[0].drift.artefact: " in done.output and "has other detectors than are declared" in done.output


def test_an_unreachable_registry_is_named(register: Register, source: Source) -> None:
    source("one")
    done = register([declared("nowhere")], url="http://127.0.0.1:9")
    assert done.code != 0
    assert "http://127.0.0.1:9" in done.output
