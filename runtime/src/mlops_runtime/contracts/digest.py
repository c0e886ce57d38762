# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The hash of a directory of files: what a model version is known by."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

TAG: Final = "mlops.sha256"

# What MLflow's clients and Python leave in a model's directory, and what is therefore no part of it.
_IGNORED_DIRECTORIES: Final = frozenset({"__pycache__", ".ipynb_checkpoints"})
_IGNORED_FILES: Final = frozenset({"registered_model_meta", ".DS_Store"})


def is_ignored(path: str) -> bool:
    """Whether a file, by its path in the directory, is no part of a model version."""
    *directories, name = path.split("/")
    return name in _IGNORED_FILES or not _IGNORED_DIRECTORIES.isdisjoint(directories)


def file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of_files(files: dict[str, str]) -> str:
    """SHA-256 over the sorted lines `<sha256 of file>  <relative path>\\n`; `files`: relative path -> sha256."""
    lines = sorted(f"{sha256}  {path}\n" for path, sha256 in files.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def tree_digest(directory: Path) -> str:
    """The digest of a directory: every regular file below it, by its path relative to it with forward slashes."""
    return digest_of_files(
        {path.relative_to(directory).as_posix(): file_digest(path) for path in directory.rglob("*") if path.is_file()}
    )
