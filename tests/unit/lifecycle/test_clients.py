# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Who is who, by password or token; files of clients that can't be used."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from mlops_runtime.lifecycle.clients import Clients

ONE, TWO = "a-secret-of-grafana", "a-secret-of-a-person"
FILE = {"grafana": {"secret": ONE, "may": ["alert"]}, "ann": {"secret": TWO, "may": ["read", "approve"]}}


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "clients"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def basic(user: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


def test_password_or_token(tmp_path: Path) -> None:
    clients = Clients.read(written(tmp_path, FILE))
    for header in (basic("ann", TWO), f"Bearer {TWO}", f"bearer  {TWO} "):
        client = clients.authenticate(header)
        assert client and client.name == "ann" and client.may == {"read", "approve"}


@pytest.mark.parametrize(
    "header",
    [
        None, "", "Basic", "Basic ???", "Bearer", "Bearer wrong", f"Token {ONE}", f"Bearer grafana:{ONE}",
        basic("", ONE), basic("grafana", TWO), basic("ann", ONE), basic("", f"grafana:{ONE}"),
        basic("Ann", TWO), "Basic /w==",
    ],
)  # fmt: skip
def test_nobody(tmp_path: Path, header: str | None) -> None:
    assert Clients.read(written(tmp_path, FILE)).authenticate(header) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ([], "not an object of clients"),
        ({"a": ONE}, "client a is not an object"),
        ({"a": {"secret": ONE, "may": ["read"], "mayy": 1}}, "client a is not an object of secret and may"),
        ({"a": {"secret": "short", "may": ["read"]}}, "client a needs a secret of 16 characters"),
        ({"a": {"secret": ONE, "may": []}}, "client a: may is not a list of alert, approve, read"),
        ({"a": {"secret": ONE, "may": ["all"]}}, "client a: may is not a list"),
        ({"a:b": {"secret": ONE, "may": ["read"]}}, "'a:b' is no client's name"),
        ({name: {"secret": ONE, "may": ["read"]} for name in "ab"}, "two clients have the same secret"),
    ],
)
def test_a_file_that_cant_be_used(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        Clients.read(written(tmp_path, content))
    assert ONE not in str(raised.value) and "short" not in str(raised.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        Clients.read(tmp_path / "none")
