# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the command that prepares a source is given."""

from __future__ import annotations

import os
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.modules.model_source import command_environment


@pytest.mark.parametrize(
    ("callers", "python_path", "wanted"),
    [
        (None, [], None),
        ("/own", [], "/own"),
        (None, ["/a", "/b"], "/a:/b"),
        ("/own", ["/a"], "/a:/own"),
        ("", ["/a"], "/a"),
    ],
)
def test_modules_are_found_here_first(
    monkeypatch: pytest.MonkeyPatch, callers: str | None, python_path: list[str], wanted: str | None
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if callers is not None:
        monkeypatch.setenv("PYTHONPATH", callers)
    params: dict[str, Any] = {"environment": {}, "python_path": python_path}
    assert command_environment(params).get("PYTHONPATH") == wanted


def test_it_is_told_more_than_the_caller_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_DETECTORS", "the caller's")
    given = command_environment({"environment": {"MLOPS_DETECTORS": '["ewma"]', "N": 1}, "python_path": []})
    assert (given["MLOPS_DETECTORS"], given["N"], given["PATH"]) == ('["ewma"]', "1", os.environ["PATH"])
