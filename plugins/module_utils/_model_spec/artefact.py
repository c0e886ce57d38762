# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The fitted detectors that a declaration names on the control host: whole, as declared, and of this model's features.

What can be seen without numpy; the arrays themselves are checked by ``mlops-drift verify`` and by the service.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from .drift import Drift
from .local import file_digest, resolve
from .preparing import why_prepare
from .spec import ModelSpec

MANIFEST = "manifest.json"
FORMAT = 1


def artefact_problems(spec: ModelSpec, directory: Path, path: str, features: Sequence[str]) -> list[str]:
    """What is wrong with the artefact, under the variable's path.

    ``features`` are the names in the model's signature, empty where it has none. An artefact that is about to be made
    anew has no problems yet.
    """
    if spec.drift is None or not spec.drift.artefact or why_prepare(spec, directory):
        return []
    root = resolve(directory, spec.drift.artefact)
    found = _read(root, f"{path}.drift.artefact")
    if isinstance(found, str):
        return [found]
    problems = [
        *_changed_files(root, found),
        *_strange_model(spec.name, found),
        *_strange_features(found, features),
        *_strange_detectors(spec.drift, found),
    ]
    return [f"{path}.drift.artefact: {root} {problem}" for problem in problems]


def _read(root: Path, path: str) -> Mapping[str, object] | str:
    """The manifest, or why there is none."""
    hint = "name the directory that mlops_runtime.drift.fitting or mlops-drift fit wrote"
    if not root.is_dir():
        return f"{path}: {root} {'is no directory' if root.exists() else 'does not exist'}; {hint}"
    file = root / MANIFEST
    if not file.is_file():
        return f"{path}: {root} has no {MANIFEST}; {hint}"
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        return f"{path}: {file} is not JSON: {error}"
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        return f"{path}: {file} is no manifest of fitted detectors; {hint}"
    if manifest["format"] > FORMAT:
        return f"{path}: {file} has the format {manifest['format']}, and this release reads up to {FORMAT}"
    return manifest


def _entries(manifest: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    entries = manifest.get(key)
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []


def _changed_files(root: Path, manifest: Mapping[str, object]) -> list[str]:
    problems = []
    for entry in _entries(manifest, "detectors"):
        name = str(entry.get("arrays"))
        file = root / name
        if file.name != name or not file.is_file():
            problems.append(f"lacks {name}, which {MANIFEST} names")
        elif file_digest(file) != entry.get("sha256"):
            problems.append(f"has a {name} that is not the one that {MANIFEST} was written for")
    return problems


def _strange_model(name: str, manifest: Mapping[str, object]) -> list[str]:
    model = manifest.get("model")
    return [f"was fitted for the model {model!r}, not for {name!r}"] if model and model != name else []


def _strange_features(manifest: Mapping[str, object], features: Sequence[str]) -> list[str]:
    """Detectors may look at some of the features; what the model doesn't have never comes in a record."""
    strange = [name for entry in _entries(manifest, "features") if (name := str(entry.get("name"))) not in features]
    if not features or not strange:
        return []
    return [f"was fitted on {_some(strange)}, and the model's signature has {_some(features)}"]


def _strange_detectors(drift: Drift, manifest: Mapping[str, object]) -> list[str]:
    def shown(kind: object, name: object, parameters: object) -> str:
        return f"{name}: {kind} {json.dumps(parameters, sort_keys=True)}"

    fitted = {
        shown(entry.get("kind"), entry.get("name"), entry.get("parameters"))
        for entry in _entries(manifest, "detectors")
    }
    declared = {shown(one.kind, one.name, dict(one.parameters)) for one in drift.detectors}
    if fitted == declared:
        return []
    return [
        f"has other detectors than are declared: {_some(sorted(fitted - declared)) or 'none'} in the place of "
        f"{_some(sorted(declared - fitted)) or 'none'}; fit it again, with what MLOPS_DETECTORS says"
    ]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
