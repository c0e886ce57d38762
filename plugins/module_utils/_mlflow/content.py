# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories as content: their files, sizes and hashes, and the one digest of a tree."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .._errors import InputError

# What loading and downloading leave behind, which is no part of a model.
IGNORED_DIRECTORIES = frozenset({"__pycache__", ".ipynb_checkpoints"})
IGNORED_FILES = frozenset({"registered_model_meta", ".DS_Store"})


@dataclass(frozen=True)
class ContentFile:
    """A file to store: its path inside the tree (POSIX), where it lies, its size in bytes and its SHA-256."""

    path: str
    source: Path
    size: int
    sha256: str


class Reader(io.RawIOBase):
    """Reads a file that must still be what it was when it was hashed."""

    def __init__(self, file: ContentFile) -> None:
        super().__init__()
        self._file = file
        self._handle: BinaryIO = file.source.open("rb")
        self._hash = hashlib.sha256()
        self._read = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self._handle.read(size)
        self._hash.update(chunk)
        self._read += len(chunk)
        done = not chunk or self._read >= self._file.size
        if self._read > self._file.size or (done and self._hash.hexdigest() != self._file.sha256):
            raise InputError(f"{self._file.source} changed while it was being stored; nothing was registered")
        return chunk

    def close(self) -> None:
        self._handle.close()
        super().close()


def is_ignored(path: str) -> bool:
    """Whether a path inside a tree is no part of its content."""
    *directories, name = path.split("/")
    return name in IGNORED_FILES or any(part in IGNORED_DIRECTORIES for part in directories)


def scan_file(source: Path, path: str) -> ContentFile:
    """One file, to be stored at ``path``."""
    with open(source, "rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        return ContentFile(path, source, handle.tell(), digest)


def _walk(root: Path, option: str) -> Iterator[Path]:
    for directory, names, files in os.walk(root, onerror=_raise):
        names[:] = sorted(name for name in names if name not in IGNORED_DIRECTORIES)
        for name in names:
            if (Path(directory) / name).is_symlink():
                raise InputError(
                    f"{option}: {Path(directory) / name} is a link to a directory: copy it in, or remove it"
                )
        for name in sorted(files):
            if name not in IGNORED_FILES:
                yield Path(directory) / name


def _raise(error: OSError) -> None:
    raise error


def scan(root: Path, option: str = "path") -> list[ContentFile]:
    """All files below a directory, with sizes and hashes; never a whole file in memory.

    :raises InputError: where something in it can't be read or stored.
    """
    found = []
    try:
        for source in _walk(root, option):
            if not source.is_file():
                raise InputError(f"{option}: {source} is neither a file nor a directory")
            found.append(scan_file(source, source.relative_to(root).as_posix()))
    except OSError as error:
        raise InputError(f"{option}: {error.filename or root} can't be read: {error.strerror}") from error
    return found


def scan_model(root: Path, option: str = "path") -> list[ContentFile]:
    """The files of an MLflow model's directory.

    :raises InputError: where it isn't one.
    """
    if not root.exists():
        raise InputError(f"{option}: {root} does not exist on the host that the module runs on")
    if not root.is_dir():
        raise InputError(f"{option}: {root} is not a directory")
    if not (root / "MLmodel").is_file():
        raise InputError(
            f"{option}: {root} has no MLmodel file, so it is no MLflow model; "
            "give the directory that mlflow.<flavour>.save_model(path=...) wrote"
        )
    return scan(root, option)


def tree_digest(hashes: Mapping[str, str]) -> str:
    """The SHA-256 over the sorted lines ``<sha256 of file>  <relative path>\\n``.

    :param hashes: relative POSIX path to the file's SHA-256 in hexadecimal.
    """
    lines = sorted(f"{digest}  {path}\n" for path, digest in hashes.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def digest_of(files: list[ContentFile]) -> str:
    """The tree digest of scanned files."""
    return tree_digest({file.path: file.sha256 for file in files})
