# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""When a source has to be made, by what, and what is there then: a declaration's ``prepare``, as a rule of make."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .local import file_digest, resolve, tree_digest
from .spec import ModelSpec, Prepare


def inputs_digest(prepare: Prepare, environment: Mapping[str, str], directory: Path) -> str:
    """What a prepared source came from: the command, what it was told, its lock and the content of its inputs."""
    parts: list[object] = [list(prepare.command)]
    for name in (prepare.requirements, *prepare.inputs):
        path = resolve(directory, name)
        parts.append([name, tree_digest(path) if path.is_dir() else file_digest(path)] if name else "")
    if environment:
        parts.append(dict(environment))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def preparing_environment(spec: ModelSpec) -> dict[str, str]:
    """What the command is told: the declared detectors, for it to fit; nothing where none are declared."""
    if spec.drift is None:
        return {}
    return {"MLOPS_DETECTORS": json.dumps([one.declared() for one in spec.drift.detectors], sort_keys=True)}


def stamp_path(spec: ModelSpec, directory: Path) -> Path:
    """The file beside a prepared source that says what it came from."""
    if spec.source is None:
        raise AssertionError("spec.source")
    target = resolve(directory, spec.source.path)
    return target.with_name(f"{target.name}.prepared")


def outputs(spec: ModelSpec, directory: Path) -> list[Path]:
    """What a preparation has to have made when it ends."""
    if spec.source is None:
        raise AssertionError("spec.source")
    detectors = spec.drift.artefact if spec.drift else ""
    paths = [spec.source.path, *(dataset.path for dataset in spec.datasets), spec.metrics, detectors]
    return [resolve(directory, path) for path in paths if path]


@dataclass(frozen=True, slots=True)
class Preparation:
    """A command to run, with the control host's paths in full, and why."""

    why: str
    directory: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    requirements: str
    outputs: tuple[str, ...]
    stamp: str
    digest: str
    timeout: int


def preparation(spec: ModelSpec, directory: Path) -> Preparation | None:
    """What makes the source; None where nothing has to be made."""
    why = why_prepare(spec, directory)
    if not why or spec.source is None or spec.source.prepare is None:
        return None
    prepare = spec.source.prepare
    environment = preparing_environment(spec)
    return Preparation(
        why=why,
        directory=str(directory),
        command=prepare.command,
        environment=environment,
        requirements=str(resolve(directory, prepare.requirements)) if prepare.requirements else "",
        outputs=tuple(str(path) for path in outputs(spec, directory)),
        stamp=str(stamp_path(spec, directory)),
        digest=inputs_digest(prepare, environment, directory),
        timeout=prepare.timeout,
    )


def why_prepare(spec: ModelSpec, directory: Path) -> str:
    """Why the source has to be made (again); empty where it needn't."""
    if spec.source is None or spec.source.prepare is None:
        return ""
    missing = [path for path in outputs(spec, directory) if not path.exists()]
    if missing:
        return f"{missing[0]} does not exist"
    stamp = stamp_path(spec, directory)
    if not stamp.exists():
        return f"{stamp} does not exist, so what the source came from is unknown"
    digest = inputs_digest(spec.source.prepare, preparing_environment(spec), directory)
    if stamp.read_text(encoding="utf-8").strip() != digest:
        return "its command, lock, detectors or inputs have changed"
    return ""
