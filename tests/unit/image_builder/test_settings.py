# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The builder reads what the module writes, and says nothing of what is in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._images.mirrors import Mirrors
from ansible_collections.mlops.onprem.plugins.modules import image_builder
from mlops_runtime.contracts.settings import SettingsError
from mlops_runtime.image_builder.settings import read_settings, write_authorities

GIVEN = {
    "tracking_uri": "http://mlflow.localhost", "username": "images", "password": "secret", "ca": "",
    "image": "r/image_builder@sha256:0",
    "registry": {"address": "127.0.0.1:5000", "username": "", "password": "", "ca": ""},
}  # fmt: skip


def test_it_reads_what_the_module_writes(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(image_builder.settings(GIVEN, Mirrors(pip_index_url="https://index.example.org/simple")))
    found = read_settings(file)
    assert (found.tracking.username, found.tracking.password) == ("images", "secret")
    assert found.registry.plain_http and found.base == GIVEN["image"]
    assert found.environment == {"UV_DEFAULT_INDEX": "https://index.example.org/simple"}
    assert "secret" not in repr(found) and "index" not in repr(found)
    assert write_authorities(found, tmp_path / "authorities.pem").is_file()


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"tracking": {"uri": "x", "secret-one": 1}})])
def test_what_it_cannot_use_it_does_not_tell(tmp_path: Path, content: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text(content)
    with pytest.raises(SettingsError, match="can't be used") as raised:
        read_settings(file)
    assert "secret-one" not in str(raised.value)


def test_authorities_that_are_none_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(image_builder.settings({**GIVEN, "ca": "no certificate"}, Mirrors()))
    with pytest.raises(SettingsError, match="authorities"):
        write_authorities(read_settings(file), tmp_path / "authorities.pem")
