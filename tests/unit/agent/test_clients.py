# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from mlops_runtime.agent.clients import Clients

TOKEN = "a-token-of-some-length"


def write(path: Path, document: Any) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_client_is_known_by_its_token(tmp_path: Path) -> None:
    document = {
        "lifecycle": {"token_sha256": sha256(TOKEN), "sets": ["models"], "secrets": ["mlflow_serving_password"]},
        "pipelines": {"token": "another-token-of-some-length", "sets": ["runs"], "paths": ["/a/", "/b/"]},
    }
    clients = Clients.read(write(tmp_path / "tokens", document))
    lifecycle = clients.authenticate(f"Bearer {TOKEN}")
    assert lifecycle is not None
    assert (lifecycle.name, lifecycle.sets, lifecycle.zones) == ("lifecycle", {"models"}, {"models"})
    pipelines = clients.authenticate("bearer another-token-of-some-length")
    assert pipelines is not None
    assert pipelines.paths == ("/a/", "/b/")


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer é"]
)
def test_nobody_else_is(tmp_path: Path, header: str | None) -> None:
    clients = Clients.read(write(tmp_path / "tokens", {"lifecycle": {"token_sha256": sha256(TOKEN)}}))
    assert clients.authenticate(header) is None


def test_without_a_file_nobody_is_let_in(tmp_path: Path) -> None:
    assert Clients.read(None).authenticate(f"Bearer {TOKEN}") is None
    assert Clients.read(tmp_path / "missing").authenticate(f"Bearer {TOKEN}") is None


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        {"a": []},
        {"a": {}},
        {"a": {"token": "short"}},
        {"a": {"token_sha256": "XYZ"}},
        {"a": {"token_sha256": sha256("")}},
        {"a": {"token": TOKEN, "sets": "models"}},
        {"a": {"token": TOKEN, "sets": [1]}},
        {"a": {"token": TOKEN, "set": ["models"]}},
    ],
)
def test_a_file_that_cannot_be_understood_is_refused_without_its_values(tmp_path: Path, document: Any) -> None:
    with pytest.raises(ValueError, match="tokens") as caught:
        Clients.read(write(tmp_path / "tokens", document))
    assert TOKEN not in str(caught.value)
