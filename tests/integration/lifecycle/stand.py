# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The controller as a process of its own, models in MLflow, deployments in Prefect, and alerts as they are sent."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow import ADMIN, Mlflow
from mlflow import PASSWORD as MLFLOW_PASSWORD
from postgresql import PASSWORD, Postgresql
from prefect import AUTH, Prefect
from process import free_port

ROOT = Path(__file__).resolve().parents[3]
CLIENTS = {
    "grafana": {"secret": "the-secret-of-grafana", "may": ["alert"]},
    "person": {"secret": "the-secret-of-a-person", "may": ["read", "approve"]},
    "reader": {"secret": "the-secret-of-a-reader", "may": ["read"]},
}
SETTLE = 1.0
FLOW = """
import pathlib, time
from prefect import flow, task

@task
def fit(works):
    if not works:
        raise ValueError("nothing to learn from")

@flow
def retrain(model: str, version: str, episode: str, works: bool = True, seconds: float = 0):
    with pathlib.Path("THE_FILE").open("a") as runs:
        runs.write(f"{model} {version} {episode}\\n")
    time.sleep(seconds)
    fit(works, return_state=True)
"""


@dataclass(frozen=True)
class Answer:
    code: int
    text: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def call(url: str, *, body: bytes | None = None, client: str = "", headers: dict[str, str] | None = None) -> Answer:
    """GET, or POST with a body. `client`: as whom, with its password."""
    request = urllib.request.Request(url, body, headers or {})
    if client:
        pair = f"{client}:{CLIENTS[client]['secret']}"
        request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    try:
        with _OPENER.open(request, timeout=60) as answer:
            return Answer(answer.status, answer.read().decode(), dict(answer.headers))
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read().decode(), dict(error.headers))


def eventually(condition: Callable[[], Any], seconds: float = 60, what: object = "") -> Any:
    """What the condition answers once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not in {seconds} s: {what() if callable(what) else what}"
        time.sleep(0.1)
    return found


def alert(
    model: str, version: str = "1", *, began: datetime | None = None, firing: bool = True, **labels: str
) -> dict[str, Any]:
    """One alert as Grafana sends it."""
    return {
        "status": "firing" if firing else "resolved",
        "labels": {"alertname": "Drift", "model": model, **({"version": version} if version else {}), **labels},
        "annotations": {"summary": f"{model} drifts"},
        "startsAt": (began or datetime.now(UTC)).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z" if firing else datetime.now(UTC).isoformat(),
        "fingerprint": f"f-{model}-{version}-{'-'.join(labels.values())}",
    }


def webhook(*alerts: dict[str, Any]) -> bytes:
    """The body around them."""
    return json.dumps(
        {"receiver": "lifecycle", "status": "firing", "orgId": 1, "version": "1", "alerts": alerts}
    ).encode()


class Controller:
    """One process, with a ledger of its own unless it is given another's."""

    def __init__(
        self, directory: Path, postgresql: Postgresql, mlflow_uri: str, prefect_url: str, ledger: str = ""
    ) -> None:
        self.directory = directory
        self.name = ledger or f"ledger_{uuid.uuid4().hex[:12]}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        inside_port = free_port()
        self.inside = f"http://127.0.0.1:{inside_port}"
        self._postgresql = postgresql
        self._process: subprocess.Popen[bytes] | None = None
        files = {"clients": json.dumps(CLIENTS), "database": PASSWORD, "prefect": AUTH, "mlflow": MLFLOW_PASSWORD}
        for name, content in files.items():
            (directory / name).write_text(content)
        if not ledger:
            postgresql.make(self.name, PASSWORD)
        self.settings = {
            "MLOPS_LIFECYCLE_DATABASE": f"postgresql://{self.name}@127.0.0.1:{postgresql.port}/{self.name}",
            "MLOPS_LIFECYCLE_DATABASE_PASSWORD_FILE": str(directory / "database"),
            "MLOPS_LIFECYCLE_CLIENTS_FILE": str(directory / "clients"),
            "MLOPS_LIFECYCLE_PREFECT": prefect_url,
            "MLOPS_LIFECYCLE_PREFECT_AUTH_FILE": str(directory / "prefect"),
            "MLOPS_LIFECYCLE_POLL_SECONDS": "0.3",
            "MLOPS_LIFECYCLE_SETTLE_SECONDS": str(SETTLE),
            "MLOPS_LIFECYCLE_RUNS": "5",
            "MLOPS_LIFECYCLE_HOST": "127.0.0.1",
            "MLOPS_LIFECYCLE_PORT": str(self.port),
            "MLOPS_LIFECYCLE_INSIDE_PORT": str(inside_port),
            "MLFLOW_TRACKING_URI": mlflow_uri,
            "MLFLOW_TRACKING_USERNAME": ADMIN,
            "MLFLOW_TRACKING_PASSWORD_FILE": str(directory / "mlflow"),
        }

    def command(self, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("MLOPS_", "MLFLOW_"))},
            **self.settings,
            "PYTHONPATH": os.pathsep.join(
                [
                    str(ROOT / "runtime" / "src"),
                    str(ROOT / "plugins" / "module_utils"),
                    os.environ.get("PYTHONPATH", ""),
                ]
            ),
        }
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "mlops_runtime.lifecycle", *arguments],
                env=environment, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    @property
    def log(self) -> Path:
        return self.directory / f"{self.port}.log"

    def migrate(self) -> int:
        return self.command("migrate").wait(120)

    def start(self, *, ready: bool = True) -> None:
        self._process = self.command("serve")
        path = "/health/ready" if ready else "/health/live"
        eventually(lambda: self._answers(path), 120, lambda: self.log.read_text()[-3000:])

    def _answers(self, path: str) -> bool:
        assert self._process and self._process.poll() is None, self.log.read_text()[-3000:]
        with contextlib.suppress(OSError):
            return call(self.inside + path).code == 200
        return False

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def kill(self) -> None:
        """As a machine that loses its power does."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    # What it is told, and what it says

    def knows(self, model: str) -> str:
        """Waits until it does, with the champion."""

        def known() -> bool:
            found = self.get("/v1/models").json["models"]
            return any(item["model"] == model and "champion" in item["aliases"] for item in found)

        eventually(known, 60, model)
        return model

    def post(self, path: str, body: Any, client: str = "person") -> Answer:
        return call(self.url + path, body=json.dumps(body).encode(), client=client, headers=JSON)

    def get(self, path: str, client: str = "reader") -> Answer:
        return call(self.url + path, client=client)

    def send(self, *alerts: dict[str, Any]) -> Answer:
        return call(self.url + "/v1/alerts", body=webhook(*alerts), client="grafana", headers=JSON)

    def send_at_once(self, times: int, *alerts: dict[str, Any]) -> list[int]:
        """The same webhook so often in parallel: the codes, 0 where nobody answered."""

        def one(_: int) -> int:
            try:
                return self.send(*alerts).code
            except OSError:
                return 0

        with ThreadPoolExecutor(times) as threads:
            return list(threads.map(one, range(times)))

    def episodes(self, model: str) -> list[dict[str, Any]]:
        answer = self.get(f"/v1/episodes?model={model}")
        assert answer.code == 200, answer
        return list(answer.json["episodes"])

    def episode(self, model: str) -> dict[str, Any]:
        found = self.episodes(model)
        assert len(found) == 1, found
        return found[0]

    def decisions(self, model: str) -> list[str]:
        """The oldest first, without those about aliases."""
        answer = self.get(f"/v1/decisions?model={model}")
        return [item["decision"] for item in reversed(answer.json["decisions"]) if item["decision"] != "alias"]

    def run_of(self, model: str, state: str, seconds: float = 300) -> dict[str, Any]:
        """The model's only run once it is in that state."""

        def there() -> Any:
            run = self.episode(model)["run"]
            return run if run and run["state"] == state else None

        return dict(eventually(there, seconds, lambda: (self.episodes(model), self.log.read_text()[-2000:])))

    def sql(self, statement: str) -> list[list[str]]:
        told = self._postgresql.query(statement, self.name)
        return [line.split("|") for line in told.splitlines()]


JSON = {"Content-Type": "application/json"}


class Site:
    """Models and deployments, made for one test each."""

    def __init__(self, mlflow: Mlflow, prefect: Prefect | None, flows: Path | None) -> None:
        self.mlflow = mlflow
        self._prefect = prefect
        self._flows = flows

    def model(self, deployment: bool = True, **retraining: Any) -> str:
        """A registered model with a champion; its name."""
        name = f"m-{uuid.uuid4().hex[:10]}"
        declared = {"on": [{"promql": "up", "below": 1}], "gate": {"metric": "f1"}, "cooldown": "1h", **retraining}
        parameters = declared.pop("parameters", {})
        spec = json.dumps({"schema": 1, "name": name, "retraining": declared})
        tags = [{"key": "mlops.spec", "value": spec}]
        self.mlflow.api("POST", "registered-models/create", {"name": name, "tags": tags})
        self.version(name)
        self.alias(name, "champion", "1")
        if deployment:
            self.deploy(name, parameters)
        return name

    def version(self, model: str) -> None:
        run = self.mlflow.api("POST", "runs/create", {"experiment_id": "0"})["run"]["info"]
        made = {"name": model, "source": f"{run['artifact_uri']}/model", "run_id": run["run_id"]}
        self.mlflow.api("POST", "model-versions/create", made)

    def alias(self, model: str, alias: str, version: str) -> None:
        self.mlflow.api("POST", "registered-models/alias", {"name": model, "alias": alias, "version": version})

    def deploy(self, model: str, parameters: dict[str, Any]) -> None:
        assert self._prefect and self._flows
        flow = self._prefect.api("POST", "/flows/", {"name": "retrain"})["id"]
        properties = {name: {} for name in ("model", "version", "episode", "works", "seconds")}
        self._prefect.api(
            "POST",
            "/deployments/",
            {
                "name": f"retrain-{model}",
                "flow_id": flow,
                "work_pool_name": "processes",
                "path": str(self._flows),
                "entrypoint": "flows.py:retrain",
                "parameters": parameters,
                "parameter_openapi_schema": {"type": "object", "properties": properties},
            },
        )

    def runs(self, model: str) -> list[dict[str, Any]]:
        """That Prefect has of the model."""
        assert self._prefect
        filters = {"deployments": {"name": {"any_": [f"retrain-{model}"]}}}
        return list(self._prefect.api("POST", "/flow_runs/filter", filters))

    def executed(self, model: str) -> list[str]:
        """Lines that the flow itself has written."""
        assert self._flows
        file = self._flows / "runs.txt"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if line.split()[0] == model]
