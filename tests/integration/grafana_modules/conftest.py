# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""One Grafana for all, and modules run as Ansible runs them."""

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
for path in (ROOT / ".collections", ROOT / "tests" / "servers", Path(__file__).parent):
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))

from ansible_collections.mlops.onprem.plugins.module_utils._grafana import secrets  # noqa: E402 - found only now
from grafana import PASSWORD, USER, Call, Grafana  # noqa: E402 - found only now


@pytest.fixture(scope="session")
def grafana(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grafana]:
    with Grafana.started(tmp_path_factory.mktemp("grafana")) as running:
        yield running


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes guessing slow makes tests slow."""
    monkeypatch.setattr(secrets, "COST", {"n": 2, "r": 1, "p": 1})


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a module as Ansible does, in this process, with these options and no others."""

    def call(name: str, /, *, check: bool = False, **args: Any) -> dict[str, Any]:
        given = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": str(tmp_path), **args}
        module = importlib.import_module(f"ansible_collections.mlops.onprem.plugins.modules.grafana_{name}")
        capsys.readouterr()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with patch_module_args(given), pytest.raises(SystemExit):
                module.main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        said = capsys.readouterr().out
        assert PASSWORD not in said
        result: dict[str, Any] = json.loads(said)
        return result

    return call


@pytest.fixture
def call(grafana: Grafana, run: Call) -> Call:
    """Run a module at the server, as its administrator."""

    def at_server(name: str, /, *, check: bool = False, **args: Any) -> dict[str, Any]:
        here = {"grafana_url": grafana.url, "username": USER, "password": PASSWORD}
        return run(name, check=check, **{**here, **args})

    return at_server


@pytest.fixture
def converge(call: Call) -> Call:
    """Make it so: check mode foretells it without doing it, and a second run has nothing to do."""

    def twice(name: str, /, **args: Any) -> dict[str, Any]:
        foretold = call(name, check=True, **args)
        assert not foretold.get("failed"), foretold["msg"]
        assert call(name, check=True, **args)["diff"] == foretold["diff"]  # nothing was done
        made = call(name, **args)
        assert not made.get("failed"), made["msg"]
        assert (made["changed"], made["diff"]) == (foretold["changed"], foretold["diff"])
        for check in (True, False):
            again = call(name, check=check, **args)
            assert not again["changed"], again.get("diff", again)
        return made

    return twice
