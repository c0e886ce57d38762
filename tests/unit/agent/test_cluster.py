# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the agent asks the seam for: a connection for each purpose, with the settings' options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mlops_runtime.agent import cluster
from mlops_runtime.agent.settings import Settings


class Seam:
    """A backend that fails every second look."""

    made: list[dict[str, Any]] = []

    def __init__(self, *target: str, **options: Any) -> None:
        self.made.append({"target": target, **options})
        self.looks = 0

    def observe(self) -> list[str]:
        self.looks += 1
        if self.looks == 2:
            raise ConnectionError("gone")
        return ["seen"]

    def events(self) -> Any:
        yield from ("a", "b")


@pytest.fixture(autouse=True)
def seam(monkeypatch: pytest.MonkeyPatch) -> type[Seam]:
    monkeypatch.setattr(cluster, "backend", Seam)
    monkeypatch.setattr(Seam, "made", [])
    return Seam


def test_the_settings_are_handed_on(tmp_path: Path) -> None:
    auth = tmp_path / "auth"
    auth.write_text(json.dumps({"username": "mlops", "password": "p"}))
    options = {"entry": "node_port"}
    settings = Settings(
        "ml", "a-target", options, "ml.test", registry="r:5000", registry_auth_file=auth, wait_seconds=9
    )
    cluster.connector(settings)()
    cluster.connector(Settings())()
    assert Seam.made == [
        {
            "target": ("a-target", "ml"),
            "domain": "ml.test",
            "wait_timeout": 9,
            "registry_auth": {"username": "mlops", "password": "p", "server": "r:5000"},
            "kubernetes": options,
        },
        {
            "target": ("swarm", "mlops"),
            "domain": "localhost",
            "wait_timeout": 600,
            "registry_auth": None,
            "kubernetes": None,
        },
    ]


def test_looks_share_a_connection_until_one_fails() -> None:
    look = cluster.looker(cluster.connector(Settings()))
    assert [look(), len(Seam.made)] == [["seen"], 1]
    with pytest.raises(ConnectionError):
        look()
    assert [look(), len(Seam.made)] == [["seen"], 2]


def test_events_come_over_a_connection_of_their_own() -> None:
    connect = cluster.connector(Settings())
    look, events = cluster.looker(connect), cluster.listener(connect)
    look()
    assert [*events(), *events()] == ["a", "b"] * 2
    assert len(Seam.made) == 3
