# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""One Prefect server for all, a worker with a tiny flow, and modules run as Ansible runs them."""

from __future__ import annotations

import importlib
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

ROOT = Path(__file__).resolve().parents[3]
for path in (ROOT / ".collections", ROOT / "tests" / "servers"):
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))

from prefect import AUTH, Call, Prefect  # noqa: E402 - found only now

FLOW = """
import time
from prefect import flow, get_run_logger, task

@task
def load(rows):
    if rows < 0:
        raise ValueError("a negative number of rows")
    return rows

@flow
def train(rows: int = 1, ignore: bool = False, seconds: float = 0, model: str = "", full: bool = False):
    for number in range(3):
        get_run_logger().info("line %d", number)
    time.sleep(seconds)
    if ignore:
        load(rows, return_state=True)
        return 0
    return load(rows)
"""


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    with Prefect.started(tmp_path_factory.mktemp("prefect")) as running:
        yield running


@pytest.fixture(scope="session")
def flows(prefect: Prefect) -> Path:
    """The directory of the flow ``train.py:train``."""
    folder = prefect.directory / "flows"
    folder.mkdir()
    (folder / "train.py").write_text(FLOW)
    return folder


@pytest.fixture(scope="session")
def pool(prefect: Prefect) -> Iterator[str]:
    """A work pool with a worker that is ready."""
    prefect.api("POST", "/work_pools/", {"name": "processes", "type": "process"})

    def ready() -> bool:
        return bool(prefect.api("GET", "/work_pools/processes")["status"] == "READY")

    with prefect.worker("processes"):
        prefect.wait_for(ready, 120, "processes")
        yield "processes"


@pytest.fixture
def call(prefect: Prefect, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a module as Ansible does, in this process."""

    def run(name: str, /, *, check: bool = False, **args: Any) -> dict[str, Any]:
        given = {"api_url": prefect.url, "auth_string": AUTH, "_ansible_check_mode": check, "_ansible_diff": True}
        given |= {"_ansible_remote_tmp": str(prefect.directory)}
        module = importlib.import_module(f"ansible_collections.mlops.onprem.plugins.modules.{name}")
        capsys.readouterr()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with patch_module_args(given | args), pytest.raises(SystemExit):
                module.main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        said = capsys.readouterr().out
        assert AUTH not in said
        result: dict[str, Any] = json.loads(said)
        return result

    return run
