# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""One MLflow and one trained example for all tests; a model of its own for each."""

from __future__ import annotations

import contextlib
import importlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from stand import ADMIN, EXAMPLE, PASSWORD, Mlflow, Site, pipelines_python, trained  # noqa: E402 - found only now


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with Mlflow.started(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture(scope="session")
def python() -> Path:
    return pipelines_python()


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, python: Path) -> Path:
    return trained(EXAMPLE, python, tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="session")
def call(mlflow_server: Any) -> Callable[..., dict[str, Any]]:
    def run(name: str, /, **args: Any) -> dict[str, Any]:
        """Run one of the collection's modules as Ansible does, in this process."""
        given = {"tracking_uri": mlflow_server.uri, "username": ADMIN, "password": PASSWORD}
        given |= {"_ansible_remote_tmp": str(mlflow_server.directory)}
        module = importlib.import_module(f"ansible_collections.mlops.onprem.plugins.modules.{name}")
        handler = signal.getsignal(signal.SIGTERM)
        told = mlflow_server.directory / "module.json"
        try:
            with (
                told.open("w") as output,
                contextlib.redirect_stdout(output),
                patch_module_args(given | args),
                pytest.raises(SystemExit),
            ):
                module.main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        result: dict[str, Any] = json.loads(told.read_text())
        assert not result.get("failed"), result
        return result

    return run


@pytest.fixture(scope="session")
def site(mlflow_server: Any, build: Path, call: Callable[..., dict[str, Any]]) -> Site:
    return Site(mlflow_server, build, call)


@pytest.fixture
def access(mlflow_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The way in, by a password in a file, as flows have it."""
    (tmp_path / "password").write_text(PASSWORD + "\n")
    for name, value in (
        ("MLFLOW_TRACKING_URI", mlflow_server.uri),
        ("MLFLOW_TRACKING_USERNAME", ADMIN),
        ("MLFLOW_TRACKING_PASSWORD_FILE", str(tmp_path / "password")),
        ("MLFLOW_TRACKING_PASSWORD", ""),
        ("MLOPS_PIPELINE", "the-pipelines-version"),
    ):
        monkeypatch.setenv(name, value)
    from mlops_runtime.pipelines.access import connect

    return connect()
