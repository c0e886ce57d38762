# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Serving follows aliases: a real registry, a real agent, and a cluster that makes healthy whatever it is given."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from mlflow import Mlflow
from process import free_port
from stand import Controller, Site, eventually

ROOT = Path(__file__).resolve().parents[3]
for folder in ("plugins/module_utils", "runtime/src", "tests/unit/agent"):
    if str(ROOT / folder) not in sys.path:
        sys.path.insert(0, str(ROOT / folder))

from _workload import Result, Workload  # noqa: E402 - found only now
from _workload.base import Observed, Progress  # noqa: E402
from fakes import task, workload  # noqa: E402
from mlops_runtime.agent.app import Agent  # noqa: E402
from mlops_runtime.agent.clients import Clients  # noqa: E402
from mlops_runtime.agent.settings import Settings  # noqa: E402

TOKEN = "the-token-of-the-lifecycle-controller"
RIGHTS = {
    "token": TOKEN,
    "sets": ["models"],
    "secrets": ["mlflow_serving_password"],
    "connects": ["mlflow"],
    "paths": ["/seldon/", "/seldon.protos."],
}


class Cluster:
    """Shows what it was given; healthy, unless it is told otherwise."""

    def __init__(self) -> None:
        self.applied: list[list[str]] = []
        self.healthy = True
        self._shown: list[Observed] = []
        self._changed = threading.Event()

    def observe(self) -> list[Observed]:
        return [workload("mlflow", task(1)), *self._shown]

    def events(self) -> Iterator[object]:
        while self._changed.wait():
            self._changed.clear()
            yield None

    def apply(
        self,
        set_name: str,
        workloads: Sequence[Workload | Mapping[str, Any]],
        *,
        images: Mapping[str, str],
        secret_values: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Result:
        given = [item for item in workloads if isinstance(item, Workload)]
        self.applied.append([f"{item.name}:{item.labels['model.version']}" for item in given])
        self._shown = [
            workload(item.name, task(2, healthy=self.healthy), set_name=set_name, labels=dict(item.labels))
            for item in given
        ]
        self._changed.set()
        return Result(changed=True)

    def absent(self, set_name: str, *, progress: Progress | None = None) -> Result:
        raise AssertionError("the controller removes no set")


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def agent(cluster: Cluster, tmp_path: Path) -> Iterator[str]:
    """The agent's address."""
    (tmp_path / "tokens").write_text(json.dumps({"lifecycle": RIGHTS}))
    (tmp_path / "mlflow_serving_password").write_text("hidden")
    settings = Settings(registry="127.0.0.1:5000", secrets_dir=tmp_path, tokens_file=tmp_path / "tokens")
    real = Agent(settings, Clients.read(settings.tokens_file), lambda: cluster, cluster.observe, cluster.events)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(real.app(), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture
def following(controller_of: Callable[..., Controller], agent: str, tmp_path: Path) -> Controller:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "platform").write_text(json.dumps({"name": "mlops"}))
    return controller_of(
        "http://127.0.0.1:9/api",
        MLOPS_LIFECYCLE_AGENT=agent,
        MLOPS_LIFECYCLE_AGENT_TOKEN_FILE=str(tmp_path / "token"),
        MLOPS_LIFECYCLE_PLATFORM_FILE=str(tmp_path / "platform"),
    )


def tag(mlflow: Mlflow, model: str, version: str, key: str, value: str) -> None:
    mlflow.api("POST", "model-versions/set-tag", {"name": model, "version": version, "key": key, "value": value})


def has_image(mlflow: Mlflow, model: str, version: str) -> None:
    reference = f"127.0.0.1:5000/model@sha256:{version * 64}"
    for key, value in {"mlops.environment": "model-0123456789ab", "mlops.image": reference}.items():
        tag(mlflow, model, version, key, value)


def test_an_alias_is_followed(following: Controller, cluster: Cluster, mlflow: Mlflow) -> None:
    site = Site(mlflow, None, None)
    model = site.model(deployment=False)
    has_image(mlflow, model, "1")
    following.start()

    def served() -> list[tuple[str, str, bool]]:
        found = following.get(f"/v1/served?model={model}").json["served"]
        return [(item["role"], item["version"], item["until"] is None) for item in found]

    eventually(lambda: served() == [("champion", "1", True)], 180, served)
    # A version without an image is held, and takes nothing away.
    site.version(model)
    site.alias(model, "champion", "2")
    eventually(lambda: "held" in following.decisions(model), 60)
    assert served() == [("champion", "1", True)]
    tag(mlflow, model, "2", "mlops.episode", "a-run-of-a-schedule")
    has_image(mlflow, model, "2")
    eventually(lambda: served() == [("champion", "2", True), ("champion", "1", False)], 180, served)
    reasons = [item["reason"] for item in following.get(f"/v1/served?model={model}").json["served"]]
    assert reasons[0].endswith("; made by the run a-run-of-a-schedule, of no alert") and "made" not in reasons[1]
    asked = len(cluster.applied)
    assert cluster.applied[-1] == [f"model-{model}:2"]
    # Another controller process finds all as it should be, and changes nothing.
    following.kill()
    following.start()
    eventually(lambda: len(cluster.applied) > asked, 60)
    assert cluster.applied[-1] == [f"model-{model}:2"] and len(served()) == 2
    # A declaration that can't be read takes nothing away, either.
    mlflow.api("POST", "registered-models/set-tag", {"name": model, "key": "mlops.spec", "value": "{"})
    eventually(lambda: following.decisions(model).count("held") == 2, 60)
    assert len(served()) == 2
    # Without one it is no longer served, even as the last one.
    mlflow.api("POST", "registered-models/set-tag", {"name": model, "key": "mlops.spec", "value": ""})
    eventually(lambda: served() == [("champion", "2", False), ("champion", "1", False)], 60, served)
    assert cluster.applied[-1] == []


def test_what_does_not_become_healthy_is_not_said_to_serve(
    following: Controller, cluster: Cluster, mlflow: Mlflow
) -> None:
    cluster.healthy = False
    model = Site(mlflow, None, None).model(deployment=False)
    has_image(mlflow, model, "1")
    following.start()
    eventually(lambda: any(f"model-{model}:1" in given for given in cluster.applied), 180)
    assert following.get(f"/v1/served?model={model}").json["served"] == []
