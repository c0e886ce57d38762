# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Fitted detectors as files: `manifest.json` and arrays beside it, each with its SHA-256. Nothing in it runs.

drift/manifest.json     format, model, features, detectors with their parameters and calibration, libraries
      ewma.npz          arrays of one detector
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from mlops_runtime.drift.protocol import Arrays, Parameters, Scalar
from mlops_runtime.drift.schema import Column, Schema

FORMAT: Final = 1
"""The newest that is understood. What is newer is refused, what is older is read."""
MANIFEST: Final = "manifest.json"
MAX_MANIFEST_BYTES: Final = 16 * 2**20
MAX_ARRAY_BYTES: Final = 512 * 2**20
"""Of one detector, unpacked."""
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\.npz")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""Of a detector in an artefact."""


class ArtefactError(ValueError):
    """An artefact that can't be used; the message says which file, and why."""


@dataclass(frozen=True)
class FittedDetector:
    """One detector as it was fitted."""

    name: str
    kind: str
    parameters: Parameters
    arrays: Arrays
    calibration: Mapping[str, Scalar] = field(default_factory=dict)
    of_outputs: bool = False
    """Whether it watches the model's answers in the place of its inputs."""


@dataclass(frozen=True)
class Artefact:
    """All that a service needs to watch a model version."""

    model: str
    created: str
    """RFC 3339."""
    rows: int
    """Of the reference."""
    schema: Schema
    detectors: tuple[FittedDetector, ...]
    libraries: Mapping[str, str] = field(default_factory=dict)
    preprocessing: Mapping[str, Any] | None = None
    """The named step that makes rows of what isn't tabular (embedding.py)."""
    outputs: Mapping[str, Any] | None = None
    """What the model answers (outputs.py), where that is watched."""
    performance: FittedDetector | None = None
    """What its performance is held against (performance/monitor.py), where labels were there at training."""
    sha256: str = ""
    """Of the manifest, which has the hashes of all else; known once it is written."""


def write(artefact: Artefact, directory: Path) -> str:
    """Replace what is at `directory` by the artefact, whole or not at all; returns the manifest's SHA-256."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        building.chmod(0o755)
        text = json.dumps(_manifest(artefact, building), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        (building / MANIFEST).write_text(text, encoding="utf-8")
        if directory.exists():
            replaced = building.with_name(building.name + ".old")
            directory.rename(replaced)
            building.rename(directory)
            shutil.rmtree(replaced)
        else:
            building.rename(directory)
    finally:
        if building.exists():
            shutil.rmtree(building)
    return hashlib.sha256(text.encode()).hexdigest()


def load(
    directory: Path, *, model: str = "", names: Sequence[str] | None = None, sha256: str = "", arrays: bool = True
) -> Artefact:
    """Read an artefact and check every byte of it. Raises ArtefactError.

    `model` and `names`: whom it is for and which features that has, where they are known; `sha256`: the manifest's,
    from a place that whoever changes files can't write. Without `arrays` the detectors' are checked, and not kept.
    """
    text = _read(directory, MANIFEST, MAX_MANIFEST_BYTES)
    found = hashlib.sha256(text).hexdigest()
    if sha256 and sha256 != found:
        raise ArtefactError(f"{MANIFEST} has SHA-256 {found}, not {sha256}: it was changed after it was registered")
    manifest = _parse(text)
    try:
        schema = Schema([Column.from_dict(item) for item in manifest["features"]])
    except ValueError as error:
        raise ArtefactError(f"{MANIFEST}: {error}") from None
    if model and manifest["model"] and manifest["model"] != model:
        raise ArtefactError(f"it was fitted for the model {manifest['model']!r}, not for {model!r}")
    if names is not None and (difference := schema.mismatch(names)):
        raise ArtefactError(f"it doesn't fit the model's features: {difference}")
    detectors = tuple(_read_detector(directory, entry, arrays) for entry in manifest["detectors"])
    performance = None
    if manifest["performance"] is not None:
        if manifest["outputs"] is None:
            raise ArtefactError(f"{MANIFEST}: performance is watched, and what the outputs are isn't told")
        performance = _read_detector(directory, manifest["performance"], arrays)
    names_of_all = [detector.name for detector in (*detectors, performance) if detector]
    if len(set(names_of_all)) < len(names_of_all):
        raise ArtefactError(f"{MANIFEST}: two detectors have one name")
    return Artefact(
        model=manifest["model"],
        created=manifest["created"],
        rows=manifest["rows"],
        schema=schema,
        detectors=detectors,
        libraries=manifest["libraries"],
        preprocessing=manifest["preprocessing"],
        outputs=manifest["outputs"],
        performance=performance,
        sha256=found,
    )


def _write_detector(detector: FittedDetector, directory: Path) -> dict[str, Any]:
    if not NAME.fullmatch(detector.name):
        raise ArtefactError(f"{detector.name!r} is no name of a detector: letters, digits, '.', '_' and '-'")
    file = f"{detector.name}.npz"
    for name, values in detector.arrays.items():
        if values.dtype.hasobject:
            raise ArtefactError(f"detector {detector.name!r}: the array {name!r} has objects in it")
    memory = io.BytesIO()
    np.savez_compressed(memory, allow_pickle=False, **detector.arrays)
    (directory / file).write_bytes(memory.getvalue())
    return {
        "name": detector.name,
        "kind": detector.kind,
        "parameters": dict(detector.parameters),
        "arrays": file,
        "sha256": hashlib.sha256(memory.getvalue()).hexdigest(),
        "calibration": dict(detector.calibration),
        "of": "outputs" if detector.of_outputs else "inputs",
    }


def _manifest(artefact: Artefact, directory: Path) -> dict[str, Any]:
    """With the files that it names written to `directory`."""
    performance = artefact.performance
    return {
        "format": FORMAT,
        "model": artefact.model,
        "created": artefact.created,
        "rows": artefact.rows,
        "features": [column.to_dict() for column in artefact.schema.columns],
        "detectors": [_write_detector(detector, directory) for detector in artefact.detectors],
        "libraries": dict(artefact.libraries),
        "preprocessing": None if artefact.preprocessing is None else dict(artefact.preprocessing),
        "outputs": None if artefact.outputs is None else dict(artefact.outputs),
        "performance": None if performance is None else _write_detector(performance, directory),
    }


def _read(directory: Path, file: str, limit: int) -> bytes:
    path = directory / file
    if path.is_symlink():
        raise ArtefactError(f"{file} is a link; an artefact holds its own files")
    try:
        size = path.stat().st_size
        if size > limit:
            raise ArtefactError(f"{file} has {size} bytes; at most {limit} are read")
        return path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"{file}: {error.strerror or error}") from None


_FIELDS: Final[dict[str, tuple[type, ...]]] = {
    "model": (str,),
    "created": (str,),
    "rows": (int,),
    "features": (list,),
    "detectors": (list,),
    "libraries": (dict,),
    "preprocessing": (dict, type(None)),
    "outputs": (dict, type(None)),
    "performance": (dict, type(None)),
}


def _parse(text: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{MANIFEST} is no JSON: {error}") from None
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ArtefactError(f"{MANIFEST} is no manifest of a drift artefact: it has no format")
    if version > FORMAT:
        raise ArtefactError(f"it has format {version}; this release reads up to {FORMAT}: a newer one made it")
    for name, kinds in _FIELDS.items():
        if not isinstance(manifest.setdefault(name, None), kinds) or isinstance(manifest[name], bool):
            raise ArtefactError(f"{MANIFEST}: {name} is missing, or of a wrong type")
    return dict(manifest)


def _read_detector(directory: Path, entry: Any, keep: bool) -> FittedDetector:
    wanted = {"name": str, "kind": str, "arrays": str, "sha256": str, "parameters": dict}
    if not isinstance(entry, dict) or any(not isinstance(entry.get(key), kind) for key, kind in wanted.items()):
        raise ArtefactError(f"{MANIFEST}: a detector needs {', '.join(wanted)}")
    file, name = entry["arrays"], entry["name"]
    if not NAME.fullmatch(name):
        raise ArtefactError(f"{MANIFEST}: {name!r} is no name of a detector")
    if not _FILE.fullmatch(file):
        raise ArtefactError(
            f"{MANIFEST}: detector {name!r} names the file {file!r}, which is no .npz of this directory"
        )
    content = _read(directory, file, MAX_ARRAY_BYTES)
    found = hashlib.sha256(content).hexdigest()
    if found != entry["sha256"]:
        raise ArtefactError(f"{file} has SHA-256 {found}, the manifest says {entry['sha256']}: it was changed")
    arrays = _arrays(file, content)
    of_outputs = entry.get("of") == "outputs"
    calibration = entry.get("calibration") or {}
    return FittedDetector(name, entry["kind"], entry["parameters"], arrays if keep else {}, calibration, of_outputs)


def _arrays(file: str, content: bytes) -> Arrays:
    """Read a .npz without ever unpickling. The reason for a refusal is the file's, not numpy's advice to allow it."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise ArtefactError(f"{file} is no .npz archive; a pickle is never read")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(item.file_size for item in archive.infolist())
            stranger = next((item.filename for item in archive.infolist() if not item.filename.endswith(".npy")), None)
        if unpacked > MAX_ARRAY_BYTES:
            raise ArtefactError(f"{file} unpacks to {unpacked} bytes; at most {MAX_ARRAY_BYTES} are read")
        if stranger is not None:
            raise ArtefactError(f"{file} holds {stranger!r}, which is no array")
        with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
            return {name: loaded[name] for name in loaded.files}
    except ArtefactError:
        raise
    except ValueError as error:
        if "pickle" in str(error):
            raise ArtefactError(f"{file} holds pickled objects, which are never read: they can run code") from None
        raise ArtefactError(f"{file}: {error}") from None
    except (OSError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise ArtefactError(f"{file} is broken: {error}") from None
