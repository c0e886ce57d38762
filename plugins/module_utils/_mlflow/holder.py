# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the run that holds a model's content is given: parameters, metrics, datasets and further files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._errors import InputError
from .comparison import as_text, compact
from .content import ContentFile, digest_of, scan, scan_file
from .detectors import DIRECTORY, Detectors

MANIFEST = "datasets/manifest.json"
# MLflow's column for a dataset's digest; the whole SHA-256 goes into a tag beside it.
DIGEST_LIMIT = 36


@dataclass(frozen=True)
class Dataset:
    """A dataset that a model was made or tested with.

    ``sha256`` is that of the file, the tree digest of a directory, or what the user gave; ``location`` is the path
    among the run's artefacts, None where the data itself is not stored.
    """

    name: str
    context: str
    sha256: str
    location: str | None = None
    files: tuple[ContentFile, ...] = ()
    source: Any = None
    source_type: str | None = None
    schema: Any = None
    profile: Any = None

    @property
    def digest(self) -> str:
        """As MLflow stores it."""
        return self.sha256[:32] if len(self.sha256) > DIGEST_LIMIT else self.sha256

    def entry(self) -> dict[str, Any]:
        """Its line in the manifest and in the module's result."""
        return {
            "name": self.name,
            "context": self.context,
            "sha256": self.sha256,
            "path": self.location,
            "size": sum(file.size for file in self.files),
            "schema": self.schema,
            "profile": self.profile,
        }

    def as_input(self, artifact_uri: str) -> dict[str, Any]:
        """As a logged input of the run."""
        if self.source is not None:
            source_type = self.source_type or _source_type(self.source)
            source = (
                self.source if isinstance(self.source, dict) else {_SOURCE_KEYS.get(source_type, "uri"): self.source}
            )
        elif self.location is not None:
            # MLflow's clients have no type for their own store; what they call local loads any artefact address.
            source_type, source = "local", {"uri": f"{artifact_uri.rstrip('/')}/{self.location}"}
        else:
            source_type, source = "code", {"tags": {}}
        dataset = {
            "name": self.name,
            "digest": self.digest,
            "source_type": source_type,
            "source": compact(source),
        }
        if self.schema is not None:
            columns = {"mlflow_colspec": self.schema} if isinstance(self.schema, list) else self.schema
            dataset["schema"] = columns if isinstance(columns, str) else compact(columns)
        if self.profile is not None:
            dataset["profile"] = self.profile if isinstance(self.profile, str) else compact(self.profile)
        tags = {"mlflow.data.context": self.context, "mlops.sha256": self.sha256}
        return {"tags": [{"key": key, "value": value} for key, value in tags.items()], "dataset": dataset}


_SOURCE_KEYS = {"http": "url", "hugging_face": "path"}


def _source_type(source: Any) -> str:
    if not isinstance(source, str):
        return "code"
    scheme = source.partition(":")[0].lower() if ":" in source else ""
    return {"http": "http", "https": "http", "": "local", "file": "local"}.get(scheme, scheme)


@dataclass(frozen=True)
class Holder:
    """The run to make for a directory's content."""

    experiment: str
    run_name: str
    run_tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    datasets: tuple[Dataset, ...] = ()
    artifacts: tuple[ContentFile, ...] = ()
    detectors: Detectors | None = None

    def files(self) -> list[ContentFile]:
        """What goes among the run's own artefacts, apart from the datasets' manifest."""
        detectors = self.detectors.files if self.detectors else ()
        return [*(file for dataset in self.datasets for file in dataset.files), *self.artifacts, *detectors]

    def manifest(self) -> bytes:
        """The list of the datasets, as stored beside them."""
        entries = {"format": 1, "datasets": [dataset.entry() for dataset in self.datasets]}
        return (json.dumps(entries, indent=2, sort_keys=True) + "\n").encode()


def as_params(values: Mapping[str, Any] | None) -> dict[str, str]:
    """Parameters as text."""
    params = {str(key): as_text(value) for key, value in (values or {}).items()}
    for key, value in params.items():
        if len(value) > 6000:
            raise InputError(f"params: {key} has {len(value)} characters, MLflow stores 6000 at most")
    return params


def as_metrics(values: Mapping[str, Any] | None) -> dict[str, float]:
    """Metrics as finite numbers."""
    metrics = {}
    for key, value in (values or {}).items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number):
            raise InputError(f"metrics: {key} is {value!r}, which is no finite number")
        metrics[str(key)] = number
    return metrics


def as_datasets(values: Sequence[Mapping[str, Any]] | None) -> tuple[Dataset, ...]:
    """Datasets as the module's option has them; what has a path is hashed."""
    datasets: list[Dataset] = []
    taken: dict[str, str] = {}
    for number, value in enumerate(values or []):
        option = f"datasets[{number}]"
        name, context = str(value["name"]), str(value.get("context") or "train")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", context):
            raise InputError(f"{option}.context: {context!r} may have letters, digits, '.', '_' and '-' only")
        if any(one.name == name and one.context == context for one in datasets):
            raise InputError(f"{option}: the dataset {name} is given twice for {context}")
        path, digest = value.get("path"), value.get("digest")
        location: str | None = None
        files: tuple[ContentFile, ...] = ()
        if path:
            location = f"datasets/{context}/{Path(path).name}"
            if location in taken or location == MANIFEST:
                raise InputError(
                    f"{option}.path: {taken.get(location, MANIFEST)} has the file name {Path(path).name} too"
                )
            taken[location] = name
            files = _stored(Path(path), location, f"{option}.path")
            found = _digest(files, location)
            if digest and digest != found:
                raise InputError(f"{option}.digest: {path} has the SHA-256 {found}, not {digest}")
            digest = found
        if not digest:
            raise InputError(f"{option}: give path, or digest where the data is not to be stored")
        datasets.append(
            Dataset(
                name,
                context,
                str(digest),
                location,
                files,
                value.get("source"),
                value.get("source_type"),
                value.get("schema"),
                value.get("profile"),
            )
        )
    return tuple(datasets)


def as_artifacts(values: Sequence[Mapping[str, Any]] | None) -> tuple[ContentFile, ...]:
    """Further files and directories to keep with the run."""
    files: list[ContentFile] = []
    for number, value in enumerate(values or []):
        option = f"artifacts[{number}]"
        target = str(value["artifact_path"]).strip("/")
        if not target or any(part in ("", ".", "..") for part in target.split("/")):
            raise InputError(f"{option}.artifact_path: {value['artifact_path']!r} is no relative path below the run")
        top = target.partition("/")[0]
        if top in ("model", "datasets", DIRECTORY):
            raise InputError(f"{option}.artifact_path: {top} is kept for the model, its datasets or its detectors")
        files += _stored(Path(value["path"]), target, f"{option}.path")
    twice = sorted({file.path for file in files if sum(one.path == file.path for one in files) > 1})
    if twice:
        raise InputError(f"artifacts: {twice[0]} is given more than once")
    return tuple(files)


def _stored(path: Path, location: str, option: str) -> tuple[ContentFile, ...]:
    if path.is_dir():
        found = scan(path, option)
        if not found:
            raise InputError(f"{option}: {path} is empty")
        return tuple(ContentFile(f"{location}/{file.path}", file.source, file.size, file.sha256) for file in found)
    if not path.exists():
        raise InputError(f"{option}: {path} does not exist on the host that the module runs on")
    try:
        return (scan_file(path, location),)
    except OSError as error:
        raise InputError(f"{option}: {path} can't be read: {error.strerror}") from error


def _digest(files: tuple[ContentFile, ...], location: str) -> str:
    if len(files) == 1 and files[0].path == location:
        return files[0].sha256
    return digest_of([ContentFile(f.path[len(location) + 1 :], f.source, f.size, f.sha256) for f in files])
