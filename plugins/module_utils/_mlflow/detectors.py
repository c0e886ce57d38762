# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fitted drift detectors: a directory with a manifest, kept with the run that a version comes from."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from .._errors import InputError
from .content import ContentFile, scan

DRIFT_TAG = "mlops.drift.sha256"
DIRECTORY = "drift"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Detectors:
    """An artefact of detectors; its paths begin at the run's artefacts.

    ``digest`` is the SHA-256 of the manifest, which has those of all else: what reads the artefact holds it to that.
    """

    files: tuple[ContentFile, ...]
    digest: str

    def in_order(self) -> list[list[ContentFile]]:
        """The manifest comes last: whoever reads meanwhile finds the old one, whose hashes the new files don't have."""
        named = f"{DIRECTORY}/{MANIFEST}"
        return [[file for file in self.files if (file.path == named) == last] for last in (False, True)]


def as_detectors(path: str | None) -> Detectors | None:
    """The option ``drift``, hashed.

    :raises InputError: where it is no artefact of detectors.
    """
    if not path:
        return None
    root = Path(path)
    if not root.is_dir():
        what = "is not a directory" if root.exists() else "does not exist on the host that the module runs on"
        raise InputError(f"drift: {root} {what}")
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"drift: {root} has no {MANIFEST}; give the directory that mlops-drift fit wrote") from error
    except (OSError, ValueError) as error:
        raise InputError(f"drift: {root / MANIFEST} can't be read: {error}") from error
    if not isinstance(manifest, dict) or "detectors" not in manifest:
        raise InputError(f"drift: {root / MANIFEST} is no manifest of fitted detectors")
    found = scan(root, "drift")
    digest = next(file.sha256 for file in found if file.path == MANIFEST)
    return Detectors(tuple(replace(file, path=f"{DIRECTORY}/{file.path}") for file in found), digest)
