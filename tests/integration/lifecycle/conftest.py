# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""One PostgreSQL, one MLflow, one Prefect with a worker for all tests; a controller with an empty ledger for each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parents[1] / "servers"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from mlflow import Mlflow  # noqa: E402 - found only now
from postgresql import Postgresql  # noqa: E402
from prefect import Prefect  # noqa: E402
from stand import FLOW, Controller, Site  # noqa: E402

Start = Callable[..., Controller]


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgresql]:
    with Postgresql.started(tmp_path_factory.mktemp("postgresql") / "log") as running:
        yield running


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    with Mlflow.started(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    """With a work pool and a worker that is ready."""
    with Prefect.started(tmp_path_factory.mktemp("prefect")) as running:
        running.api("POST", "/work_pools/", {"name": "processes", "type": "process"})
        with running.worker("processes"):
            running.wait_for(lambda: running.api("GET", "/work_pools/processes")["status"] == "READY", 180, "processes")
            yield running


@pytest.fixture(scope="session")
def site(mlflow: Mlflow, prefect: Prefect) -> Site:
    flows = prefect.directory / "flows"
    flows.mkdir()
    (flows / "flows.py").write_text(FLOW.replace("THE_FILE", str(flows / "runs.txt")))
    return Site(mlflow, prefect, flows)


@pytest.fixture(scope="module")
def controller_of(tmp_path_factory: pytest.TempPathFactory, postgresql: Postgresql, mlflow: Mlflow) -> Iterator[Start]:
    """Makes controllers, not yet started; with a schema in their ledger, where nothing else is said."""
    made: list[Controller] = []

    def make(prefect_url: str, *, migrated: bool = True, ledger: str = "", **settings: Any) -> Controller:
        folder = tmp_path_factory.mktemp("controller")
        controller = Controller(folder, postgresql, mlflow.uri, prefect_url, ledger)
        controller.settings |= settings
        made.append(controller)
        if migrated:
            assert controller.migrate() == 0, controller.log.read_text()
        return controller

    yield make
    for controller in made:
        controller.kill()


@pytest.fixture(scope="module")
def controller(controller_of: Start, site: Site, prefect: Prefect) -> Controller:
    """One that runs; each test has models of its own."""
    made = controller_of(prefect.url)
    made.start()
    return made
