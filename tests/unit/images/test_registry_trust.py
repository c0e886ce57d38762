# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Files by which Docker and containerd trust a registry; what somebody else put beside them stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.mlops.onprem.plugins.modules import registry_trust

REGISTRY = "192.0.2.11:5000"
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the module with Docker's and containerd's places below the test's own directory."""
    monkeypatch.setattr(registry_trust, "DOCKER", tmp_path / "docker")
    config = tmp_path / "config.toml"
    config.write_text(
        f'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "{tmp_path}/certs.d"\n'
    )
    monkeypatch.setattr(registry_trust, "find_program", lambda name: None)

    def run(*, check: bool = False, **args: Any) -> dict[str, Any]:
        given = {"registry": REGISTRY, "config_file": str(config), "_ansible_check_mode": check, **args}
        with patch_module_args(given), pytest.raises(SystemExit):
            registry_trust.main()
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


def files(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_both_engines_at_once_and_then_neither(run: Run, tmp_path: Path) -> None:
    wanted: dict[str, Any] = {"engines": ["docker", "containerd"], "ca": "PEM\n"}
    before = files(tmp_path)
    assert run(check=True, **wanted)["changed"] and files(tmp_path) == before
    assert run(**wanted)["changed"]
    made = files(tmp_path)
    assert made[f"docker/{REGISTRY}/ca.crt"] == made[f"certs.d/{REGISTRY}/ca.crt"] == "PEM\n"
    assert f"https://{REGISTRY}" in made[f"certs.d/{REGISTRY}/hosts.toml"]
    assert f"docker/{REGISTRY}/hosts.toml" not in made
    assert not run(**wanted)["changed"]
    assert run(engines=["docker", "containerd"], state="absent")["changed"]
    assert files(tmp_path) == before and not (tmp_path / "docker" / REGISTRY).exists()
    assert not run(engines=["docker", "containerd"], state="absent")["changed"]


def test_what_others_put_there_stays(run: Run, tmp_path: Path) -> None:
    own = tmp_path / "docker" / REGISTRY / "client.cert"
    own.parent.mkdir(parents=True)
    own.write_text("the operator's")
    assert run(engines=["docker"], ca="PEM\n")["changed"]
    assert run(engines=["docker"], ca="another\n")["diff"]["before"][str(own.with_name("ca.crt"))] == "PEM\n"
    assert run(engines=["docker"], state="absent")["changed"]
    assert list(own.parent.iterdir()) == [own]


def test_a_node_without_containerd_says_so_and_nothing_is_written(run: Run, tmp_path: Path) -> None:
    found = run(ca="PEM\n", config_file=str(tmp_path / "none.toml"))
    assert not found["changed"] and "no containerd was found" in found["problems"][0]
    assert run(ca="")["msg"].startswith("ca: is empty")
