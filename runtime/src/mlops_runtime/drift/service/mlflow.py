# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Models from MLflow: those whose declaration has `drift`, in the versions that aliases name, by the artefacts of their
runs."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from mlops_runtime.contracts.mlflow import SPEC_TAG, Mlflow, MlflowError, spec_of
from mlops_runtime.drift.artefact import MAX_ARRAY_BYTES, Artefact
from mlops_runtime.drift.service.catalogue import SourceError, Versions, usable
from mlops_runtime.drift.service.settings import Settings
from mlops_runtime.drift.stream import Standing

log = logging.getLogger(__name__)

SHA256_TAG: Final = "mlops.drift.sha256"
"""Of a version: its manifest's hash, where the registration noted it."""
ALIASES: Final = ("champion", "challenger", "shadow")
FOLDER: Final = "drift"
_SECONDS: Final = 20.0
_AGAIN_SECONDS: Final = 60.0
"""A version is looked at again after so long: it may have another artefact by then, or a usable one."""


@dataclass(frozen=True)
class _Found:
    artefact: Artefact | Standing
    problem: str = ""
    again_at: float = 0.0


class Registry:
    """One tracking server. Artefacts are kept, verified, below the state directory while the process lives."""

    def __init__(self, settings: Settings) -> None:
        """Raises MlflowError."""
        self._mlflow = Mlflow(settings.tracking, _SECONDS)
        self._directory = settings.state_directory
        self._versions: dict[tuple[str, str], _Found] = {}

    def read(self) -> Mapping[str, Versions]:
        try:
            watched = [model for model in self._mlflow.registered_models() if _is_watched(model)]
        except MlflowError as error:
            raise SourceError(str(error)) from error
        models = {}
        for model in watched:
            named = {
                item["alias"]: str(item["version"]) for item in model.get("aliases", []) if item["alias"] in ALIASES
            }
            name = str(model["name"])
            found = {version: self._version(name, version) for version in sorted(set(named.values()))}
            default = next((named[alias] for alias in ALIASES if alias in named), "")
            models[name] = Versions(
                {version: item.artefact for version, item in found.items()},
                default,
                {version: item.problem for version, item in found.items() if item.problem},
            )
        named_now = {(name, version) for name, known in models.items() for version in known.versions}
        self._versions = {key: item for key, item in self._versions.items() if key in named_now}
        return models

    def _version(self, model: str, version: str) -> _Found:
        found = self._versions.get((model, version))
        if found is None or found.again_at < time.monotonic():
            if found is not None and self._is_current(found, model, version):
                found = replace(found, again_at=time.monotonic() + _AGAIN_SECONDS)
            else:
                found = self._bring(model, version)
            if found.artefact is not Standing.PENDING:
                self._versions[model, version] = found
        return found

    def _is_current(self, found: _Found, model: str, version: str) -> bool:
        """Whether the artefact is still the one that is registered; without an answer it is taken to be."""
        if not isinstance(found.artefact, Artefact):
            return False
        try:
            return _registered_sha256(self._mlflow.version(model, version)) in ("", found.artefact.sha256)
        except MlflowError:
            return True

    def _bring(self, model: str, version: str) -> _Found:
        """Fetch and verify. One version's fault is no other's."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="artefact-", dir=self._directory) as folder:
                sha256 = self._download(model, version, Path(folder))
                return _Found(usable(Path(folder), model, sha256), again_at=time.monotonic() + _AGAIN_SECONDS)
        except (MlflowError, ValueError) as error:
            if isinstance(error, MlflowError) and error.status != 404 and error.passing:
                return _Found(Standing.PENDING, str(error))
            return _Found(Standing.UNWATCHED, str(error), time.monotonic() + _AGAIN_SECONDS)
        except OSError as error:
            return _Found(Standing.PENDING, str(error))

    def _download(self, model: str, version: str, target: Path) -> str:
        """The hash that the manifest was registered with; empty where it wasn't noted."""
        mlflow = self._mlflow
        known = mlflow.version(model, version)
        run = known.get("run_id")
        if not run:
            raise MlflowError("it has no run, and so no drift artefact")
        info = mlflow.api("runs/get", {"run_id": run}).get("run", {}).get("info", {})
        root = f"{mlflow.place(str(info.get('artifact_uri', '')), f'run {run}')}/{FOLDER}"
        files = [entry.path for entry in mlflow.list(root) if not entry.is_directory]
        if not files:
            raise MlflowError(f"its run {run} has no {FOLDER}/: no detectors were fitted at its training")
        for name in files:
            mlflow.save(f"{root}/{name}", target / name, MAX_ARRAY_BYTES)
        return _registered_sha256(known)


def _registered_sha256(version: Mapping[str, Any]) -> str:
    return next((str(tag["value"]) for tag in version.get("tags", []) if tag.get("key") == SHA256_TAG), "")


def _is_watched(model: dict[str, Any]) -> bool:
    """Whether the model's declaration has `drift`."""
    try:
        return bool(spec_of(model).get("drift"))
    except ValueError:
        log.warning("Model %s: its tag %s is no JSON", model.get("name"), SPEC_TAG)
        return False
