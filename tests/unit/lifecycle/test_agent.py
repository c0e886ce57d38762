# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The agent's client against the real agent, behind which a cluster is made up."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from _model_spec import Platform
from mlops_runtime.agent import app as agent_app
from mlops_runtime.agent.clients import Clients
from mlops_runtime.agent.settings import Settings
from mlops_runtime.lifecycle.serving.agent import Agent, AgentError, Running, Status
from mlops_runtime.lifecycle.serving.desired import Plan, Version, documents

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "agent"))

from fakes import task, workload
from test_app import Cluster

pytestmark = pytest.mark.asyncio
TOKEN = "the-token-of-the-lifecycle-controller"
RIGHTS = {
    "token": TOKEN,
    "sets": ["models"],
    "secrets": ["mlflow_serving_password"],
    "connects": ["mlflow"],
    "paths": ["/seldon/", "/seldon.protos."],
}
PLAN = Plan(
    json.dumps({"schema": 1, "name": "m"}),
    {"champion": Version("3", "model-0123456789ab", "127.0.0.1:5000/model@sha256:" + "a" * 64)},
)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest_asyncio.fixture
async def transport(cluster: Cluster, tmp_path: Path) -> AsyncIterator[httpx.ASGITransport]:
    (tmp_path / "tokens").write_text(json.dumps({"lifecycle": RIGHTS}))
    (tmp_path / "mlflow_serving_password").write_text("hidden")
    settings = Settings(registry="127.0.0.1:5000", secrets_dir=tmp_path, tokens_file=tmp_path / "tokens")
    clients = Clients.read(settings.tokens_file)
    real = agent_app.Agent(settings, clients, lambda: cluster, cluster.observe, cluster.events)
    app = real.app()
    async with real.lifespan(app):
        while real.state.observed is None:
            await asyncio.sleep(0.01)
        yield httpx.ASGITransport(app)


async def test_a_plan_is_taken_and_what_runs_is_told(cluster: Cluster, transport: httpx.ASGITransport) -> None:
    agent = Agent("http://agent:8080/", TOKEN, "models", transport)
    assert await agent.status() == Status()
    document = documents({"m": PLAN}, Platform("mlops"))
    await agent.want(document)
    labels = {"model": "m", "model.version": "3", "model.role": "champion"}
    cluster.show(
        [
            workload("mlflow", task(1)),
            workload("model-m", task(2), set_name="models", labels=labels),
            workload("model-m--s", task(3, healthy=False), set_name="models", labels=labels),
        ]
    )
    async with asyncio.timeout(20):
        while not (status := await agent.status()).running:
            await asyncio.sleep(0.02)
    assert status.running == (Running("model-m", "m", "3", "champion"),)
    [(name, workloads, images, values)] = cluster.applied
    assert (name, [item.name for item in workloads]) == ("models", ["model-m"])
    assert images == document["images"] and values == {"mlflow_serving_password": "hidden"}
    await agent.close()


async def test_why_it_is_refused(transport: httpx.ASGITransport) -> None:
    document = documents({"m": PLAN}, Platform("mlops", registry_workload="postgresql"))
    agent = Agent("http://agent:8080", TOKEN, "models", transport)
    with pytest.raises(AgentError, match=r"422 the set is refused; model-m\.connects: postgresql is not open"):
        await agent.want(document)
    with pytest.raises(AgentError, match="401 a client's token is needed"):
        await Agent("http://agent:8080", "wrong", "models", transport).status()
    with pytest.raises(AgentError, match="403 the set platform is not lifecycle's"):
        await Agent("http://agent:8080", TOKEN, "platform", transport).want(document)
