# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declared models as the control host has them: in the variable, or in files that it names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec import (
    ModelSpec,
    parse_model,
    repeated_names,
    resolve,
)

VARIABLE = "mlops_models"


@dataclass(frozen=True)
class Declared:
    """A declaration, where it stands in the variable, and the directory that its paths count from."""

    path: str
    directory: Path
    spec: ModelSpec


def read_models(models: Any, directory: str) -> tuple[list[Declared], list[str]]:
    """The declarations as far as they can be read, and what is wrong with them."""
    if isinstance(models, (str, Mapping)) or not isinstance(models, Sequence):
        return [], [f"{VARIABLE}: must be a list of models, not {type(models).__name__}"]
    declared: list[Declared] = []
    problems: list[str] = []
    values: list[tuple[str, Any]] = []
    for index, value in enumerate(models):
        path, place = f"{VARIABLE}[{index}]", Path(directory)
        if isinstance(value, str):
            file = resolve(place, value)
            place = file.parent
            try:
                value = yaml.safe_load(file.read_text(encoding="utf-8"))
            except OSError as error:
                problems.append(f"{path}: {file} can't be read: {error.strerror}")
                continue
            except (UnicodeDecodeError, yaml.YAMLError) as error:
                problems.append(f"{path}: {file} is not YAML: {' '.join(str(error).split())}")
                continue
        values.append((path, value))
        spec, found = parse_model(value, path)
        problems += found
        if spec is not None:
            declared.append(Declared(path, place, spec))
    return declared, problems + repeated_names(values)


def sound_models(models: Any, directory: str) -> list[Declared]:
    declared, problems = read_models(models, directory)
    if problems:
        raise AnsibleFilterError("\n".join(problems))
    return declared


def signature_features(one: Declared) -> list[str]:
    """The names of the columns in the signature that MLflow keeps with a local source; none where it has none."""
    if not one.spec.source or not one.spec.source.path:
        return []
    try:
        described = yaml.safe_load((resolve(one.directory, one.spec.source.path) / "MLmodel").read_text("utf-8"))
        columns = json.loads(described["signature"]["inputs"])
        return [str(column["name"]) for column in columns if column.get("name")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return []
