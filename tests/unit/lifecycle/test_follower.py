# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a version runs in, by its tags; or why it is held."""

from __future__ import annotations

from typing import Any

import pytest
from mlops_runtime.lifecycle.serving.desired import Version
from mlops_runtime.lifecycle.serving.follower import read_version

MADE = {"mlops.environment": "model-1", "mlops.image": "r/model-1@sha256:1", "mlops.sha256": "abc"}
WANTED = {"mlops.environment": "model-2", "mlops.image.from": "r/model-1@sha256:1"}


def version(tags: dict[str, str]) -> dict[str, Any]:
    return {"version": "3", "tags": [{"key": key, "value": value} for key, value in tags.items()]}


def test_a_version_with_an_image_runs_in_it() -> None:
    assert read_version(version(MADE), builds=False) == Version("3", "model-1", "r/model-1@sha256:1", "abc")
    made = {**WANTED, "mlops.image": "r/model-1@sha256:2"}
    assert read_version(version(made), builds=True) == Version("3", "model-2", "r/model-1@sha256:2")


@pytest.mark.parametrize(
    ("tags", "builds", "said"),
    [
        ({}, True, "don't say which image it runs in"),
        ({"mlops.environment": "model-1"}, True, "don't say which image it runs in"),
        (WANTED, True, "its image is being made of its lock"),
        (WANTED, False, "no image builder runs here"),
        ({**WANTED, "mlops.image.problem": "its lock holds no numpy"}, True, "can't be made: its lock holds no numpy"),
    ],
)
def test_a_version_without_an_image_is_held_with_the_reason(tags: dict[str, str], builds: bool, said: str) -> None:
    found = read_version(version(tags), builds=builds)
    assert isinstance(found, str) and said in found
