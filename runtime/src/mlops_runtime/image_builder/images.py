# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""An image made of another one's layers, as specified in https://github.com/opencontainers/image-spec."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from typing import Any, Final

from mlops_runtime.contracts.tags import REQUIREMENTS
from mlops_runtime.image_builder.errors import BuildError
from mlops_runtime.image_builder.layers import Layer

ENVIRONMENT: Final = "COPY /opt/venv /opt/venv"
"""How the step that brings a model's environment begins in an image's history, as BuildKit writes it."""
LOCK: Final = "COPY requirements.txt /microservice/ # image builder"
LAYER_TYPES: Final = {
    "application/vnd.docker.distribution.manifest.v2+json": "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.oci.image.manifest.v1+json": "application/vnd.oci.image.layer.v1.tar+gzip",
}
_REFERENCE: Final = re.compile(r"(?P<repository>[^@\s]+)@(?P<digest>sha256:[0-9a-f]{64})")


def tag(parent: str, requirements: str) -> str:
    """What an image is kept under: `parent`'s repository, and a tag of both hashes. Raises BuildError."""
    found = _REFERENCE.fullmatch(parent)
    if not found:
        raise BuildError(f"{parent[:200]!r} names no image by digest")
    return f"{found['repository']}:lock-{requirements[:16]}-{found['digest'].removeprefix('sha256:')[:16]}"


def by_digest(tagged: str, digest: str) -> str:
    return f"{tagged.rpartition(':')[0]}@{digest}"


def check_base(parent: str, config: dict[str, Any], own: dict[str, Any]) -> None:
    """Whether an image stands on the builder's own base: compiled packages are for one Python. Raises BuildError."""
    bases = [one.get("rootfs", {}).get("diff_ids", [])[:1] for one in (config, own)]
    if not bases[0] or bases[0] != bases[1]:
        raise BuildError(
            f"{parent} stands on another base image than the image builder, and so has another Python; declare the "
            "model with its lock (mlops_models), which builds its image anew"
        )


def derive(
    manifest: dict[str, Any], config: dict[str, Any], environment: Layer, lock: Layer, requirements: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Manifest and configuration with another environment and lock; all else is the parent's. Raises BuildError.

    How the manifest describes the configuration is filled in when both are pushed.
    """
    manifest, config = copy.deepcopy(manifest), copy.deepcopy(config)
    steps = [index for index, step in enumerate(config.get("history", [])) if not step.get("empty_layer")]
    created = [str(config["history"][index].get("created_by", "")) for index in steps]
    places = [place for place, text in enumerate(created) if text.startswith(ENVIRONMENT)]
    if len(places) != 1 or not len(steps) == len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]):
        raise BuildError(
            "the image that it was to be made from has no layer of its own for the model's environment; declare the "
            "model with its lock (mlops_models)"
        )
    kind = LAYER_TYPES[manifest["mediaType"]]
    _replace(manifest, config, places[0], environment, kind)
    config["history"][steps[places[0]]]["created_by"] = f"{ENVIRONMENT} # image builder, lock {requirements[:16]}"
    if created[-1] == LOCK:
        _replace(manifest, config, len(created) - 1, lock, kind)
    else:
        manifest["layers"].append({})
        config["rootfs"]["diff_ids"].append("")
        config["history"].append({"created": config.get("created"), "created_by": LOCK})
        _replace(manifest, config, len(manifest["layers"]) - 1, lock, kind)
    config.setdefault("config", {}).setdefault("Labels", {})
    config["config"]["Labels"] = {**(config["config"]["Labels"] or {}), REQUIREMENTS: requirements}
    return manifest, config


def _replace(manifest: dict[str, Any], config: dict[str, Any], place: int, layer: Layer, kind: str) -> None:
    manifest["layers"][place] = {"mediaType": kind, "size": layer.size, "digest": layer.digest}
    config["rootfs"]["diff_ids"][place] = layer.diff_id


def to_bytes(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
