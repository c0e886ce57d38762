# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Files of a model version out of MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from mlops_runtime.contracts.digest import TAG, is_ignored
from mlops_runtime.contracts.mlflow import Mlflow, MlflowError


def registered_digest(mlflow: Mlflow, name: str, version: str) -> str | None:
    """The tree digest that the model version was registered with. Raises MlflowError."""
    tags = mlflow.version(name, version).get("tags", [])
    return next((tag["value"] for tag in tags if tag.get("key") == TAG), None)


def download(mlflow: Mlflow, name: str, version: str, target: Path) -> dict[str, str]:
    """Write the version's files below `target`; returns relative path -> SHA-256 of what was written.

    Raises MlflowError.
    """
    root = _artifact_path(mlflow, name, version)
    digests: dict[str, str] = {}
    for path in _files(mlflow, root):
        relative = PurePosixPath(path).relative_to(root)
        if is_ignored(str(relative)):
            continue
        digests[str(relative)] = mlflow.save(path, target / relative)
    if not digests:
        raise MlflowError(f"{mlflow.shown}: version {version} of model {name} has no files")
    return digests


def _artifact_path(mlflow: Mlflow, name: str, version: str) -> str:
    """The version's place below the artifact proxy."""
    query = {"name": name, "version": version}
    uri = str(mlflow.api("model-versions/get-download-uri", query).get("artifact_uri", ""))
    if uri.startswith("models:/m-"):
        model = uri.removeprefix("models:/")
        answer = mlflow.api(f"logged-models/{quote(model, safe='')}")
        uri = str(answer.get("model", {}).get("info", {}).get("artifact_uri", ""))
    return mlflow.place(uri, f"version {version} of model {name}")


def _files(mlflow: Mlflow, directory: str) -> Iterator[str]:
    for entry in mlflow.list(directory):
        path = f"{directory}/{entry.path}"
        if entry.is_directory:
            yield from _files(mlflow, path)
        else:
            yield path
