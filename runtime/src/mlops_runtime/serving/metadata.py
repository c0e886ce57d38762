# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a model says of itself: checked as Seldon's wrapper does, with the defaults it fills in."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import yaml

from mlops_runtime.contracts import environment
from mlops_runtime.serving.seldon import SeldonNotImplementedError

log = logging.getLogger(__name__)

_ARRAY_TYPES = {"tensor", "ndarray", "tftensor"}
_PLAIN_TYPES = {"strData", "binData"}
_TENSOR_TYPES = {
    *(f"{kind}{bits}" for kind in ("UINT", "INT") for bits in (8, 16, 32, 64)),
    "BOOL",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
}  # fmt: skip
_FIELDS = {"name", "versions", "platform", "inputs", "outputs", "custom"}


def model_metadata(user: Any, env: Mapping[str, str] = os.environ) -> dict[str, Any] | None:
    """The class's init_metadata with MODEL_METADATA (YAML) over it; None, with the reason in the log, if it is bad."""
    own: Any = {}
    if hasattr(user, "init_metadata"):
        try:
            own = user.init_metadata()
        except SeldonNotImplementedError:
            own = {}
    if not isinstance(own, dict):
        log.error("init_metadata must return dict")
        own = {}
    try:
        given = yaml.safe_load(env.get(environment.MODEL_METADATA, "{}")) or {}
    except yaml.YAMLError as error:
        log.error("Reading metadata from %s failed: %s", environment.MODEL_METADATA, error)
        given = {}
    image, _, version = env.get(environment.UNIT_IMAGE, "").rpartition(":")
    defaults = {"name": image, "versions": [version], "platform": "", "inputs": [], "outputs": [], "custom": {}}
    metadata = {**defaults, **own, **given}
    if problems := metadata_problems(metadata):
        log.error("The model's metadata is not valid: %s", "; ".join(problems))
        return None
    return metadata


def metadata_problems(metadata: dict[str, Any]) -> list[str]:
    problems = [f"{name} isn't a known field" for name in metadata.keys() - _FIELDS]
    problems += [f"{name} must be text" for name in ("name", "platform") if not isinstance(metadata.get(name, ""), str)]
    if not _is_list_of(metadata.get("versions", []), str):
        problems.append("versions must be a list of texts")
    custom = metadata.get("custom", {})
    if not (isinstance(custom, dict) and all(isinstance(value, str) for value in custom.values())):
        problems.append("custom must map names to texts")
    for name in ("inputs", "outputs"):
        items = metadata.get(name, [])
        if not isinstance(items, list):
            problems.append(f"{name} must be a list")
        else:
            problems += [
                f"{name} holds {item!r}, which describes no message" for item in items if not _is_message(item)
            ]
    return problems


def _is_message(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    if item.keys() <= {"name", "datatype", "shape"}:
        named = isinstance(item.get("name", ""), str) and item.get("datatype", "BOOL") in _TENSOR_TYPES
        return named and _is_list_of(item.get("shape", []), int)
    kind, schema = item.get("messagetype"), item.get("schema", {})
    if not isinstance(kind, str) or not item.keys() <= {"messagetype", "schema"} or not isinstance(schema, dict):
        return False
    if kind in _ARRAY_TYPES:
        known = schema.keys() <= {"names", "shape"}
        return known and _is_list_of(schema.get("names", []), str) and _is_list_of(schema.get("shape", []), int)
    return kind not in _PLAIN_TYPES or "schema" not in item


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) and not isinstance(item, bool) for item in value)
