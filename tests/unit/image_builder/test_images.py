# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Manifests and configurations: two layers are others, all else is the parent's."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from mlops_runtime.image_builder import images
from mlops_runtime.image_builder.errors import BuildError
from mlops_runtime.image_builder.layers import Layer

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
STEPS = ["base", "COPY /opt/server /opt/server # buildkit", "COPY /opt/venv /opt/venv # buildkit", "COPY code* /m"]
ENVIRONMENT = Layer(Path("environment"), "sha256:e", "sha256:E", 7)
LOCK = Layer(Path("lock"), "sha256:l", "sha256:L", 3)
DIGEST = "sha256:" + "ab" * 32


def image(kind: str = DOCKER) -> tuple[dict[str, Any], dict[str, Any]]:
    """As the builds of model_server's Dockerfile leave it: with steps that made no layer in between."""
    layers = [{"mediaType": "x", "size": 1, "digest": f"sha256:{index}"} for index in range(len(STEPS))]
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": {"digest": "sha256:c", "size": 1}, "layers": layers}
    history: list[dict[str, Any]] = []
    for step in STEPS:
        history += [{"created_by": step}, {"created_by": "ENV", "empty_layer": True}]
    config = {
        "config": {"User": "10001:10001", "Labels": {"mlops.image.key": "k"}},
        "history": history,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:d{index}" for index in range(len(STEPS))]},
    }
    return manifest, config


@pytest.mark.parametrize("kind", [DOCKER, OCI])
def test_the_environment_takes_its_place_and_the_lock_comes_on_top(kind: str) -> None:
    given = image(kind)
    before = copy.deepcopy(given)
    manifest, config = images.derive(*given, ENVIRONMENT, LOCK, "0123456789abcdef0123")
    assert given == before
    assert [layer["digest"] for layer in manifest["layers"]] == [
        "sha256:0", "sha256:1", "sha256:e", "sha256:3", "sha256:l",
    ]  # fmt: skip
    assert config["rootfs"]["diff_ids"] == ["sha256:d0", "sha256:d1", "sha256:E", "sha256:d3", "sha256:L"]
    assert {layer["mediaType"] for layer in manifest["layers"]} == {"x", images.LAYER_TYPES[kind]}
    assert config["config"]["Labels"] == {"mlops.image.key": "k", "mlops.requirements": "0123456789abcdef0123"}
    made = [step["created_by"] for step in config["history"] if not step.get("empty_layer")]
    assert len(made) == len(manifest["layers"]) and "0123456789abcdef" in made[2]


def test_made_of_one_that_was_made_it_has_as_many_layers() -> None:
    first = images.derive(*image(), ENVIRONMENT, LOCK, "1" * 64)
    other = Layer(Path("other"), "sha256:o", "sha256:O", 9)
    manifest, config = images.derive(*first, other, other, "2" * 64)
    assert [layer["digest"] for layer in manifest["layers"]] == [
        "sha256:0", "sha256:1", "sha256:o", "sha256:3", "sha256:o",
    ]  # fmt: skip
    assert config["config"]["Labels"]["mlops.requirements"] == "2" * 64


@pytest.mark.parametrize(
    "history", [[], [{"created_by": "COPY /opt/venv /opt/venv"}], [{"created_by": step} for step in STEPS[:2] * 2]]
)
def test_without_a_layer_for_the_environment_it_is_refused(history: list[dict[str, Any]]) -> None:
    manifest, config = image()
    with pytest.raises(BuildError, match="no layer of its own"):
        images.derive(manifest, {**config, "history": history}, ENVIRONMENT, LOCK, "1" * 64)


def test_a_tag_is_of_the_parent_and_the_lock() -> None:
    made = images.tag(f"192.0.2.1:5000/path/model-1@{DIGEST}", "c" * 64)
    assert made == f"192.0.2.1:5000/path/model-1:lock-{'c' * 16}-{'ab' * 8}"
    assert images.by_digest(made, "sha256:d") == "192.0.2.1:5000/path/model-1@sha256:d"
    for reference in ("192.0.2.1:5000/model:1", "", f"@{DIGEST}", f"a b@{DIGEST}"):
        with pytest.raises(BuildError, match="names no image by digest"):
            images.tag(reference, "c" * 64)


def test_an_image_of_another_base_is_refused() -> None:
    config = image()[1]
    images.check_base("r/model", config, copy.deepcopy(config))
    for other in ({"rootfs": {"diff_ids": ["sha256:other"]}}, {"rootfs": {}}, {}):
        with pytest.raises(BuildError, match="another base image"):
            images.check_base("r/model", config, other)
        with pytest.raises(BuildError, match="another base image"):
            images.check_base("r/model", other, config)
