# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Models from a directory: <model>/<version>/ is an artefact. For tests, and for who has no registry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlops_runtime.drift.artefact import MANIFEST, Artefact
from mlops_runtime.drift.service.catalogue import SourceError, Versions, usable
from mlops_runtime.drift.stream import Standing


class Directory:
    """Read anew where a manifest has changed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: dict[Path, tuple[int, Artefact | str]] = {}

    def read(self) -> Mapping[str, Versions]:
        try:
            return {path.name: self._model(path) for path in sorted(self._root.iterdir()) if path.is_dir()}
        except OSError as error:
            raise SourceError(f"{self._root}: {error.strerror or error}") from error

    def _model(self, path: Path) -> Versions:
        found = {version.name: self._version(path.name, version) for version in path.iterdir() if version.is_dir()}
        # Of numbers the highest, of names the last.
        newest = max(found, key=lambda name: (name.isdigit(), int(name) if name.isdigit() else 0, name), default="")
        return Versions(
            {name: Standing.UNWATCHED if isinstance(item, str) else item for name, item in found.items()},
            newest,
            {name: item for name, item in found.items() if isinstance(item, str)},
        )

    def _version(self, model: str, path: Path) -> Artefact | str:
        manifest = path / MANIFEST
        changed = manifest.stat().st_mtime_ns if manifest.exists() else 0
        before = self._read.get(path)
        if before is None or before[0] != changed:
            try:
                before = changed, usable(path, model)
            except ValueError as error:
                before = changed, str(error)
            self._read[path] = before
        return before[1]
