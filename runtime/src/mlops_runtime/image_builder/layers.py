# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Layers of an image: a tar of files that are root's, the same bytes for the same files."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

EPOCH: Final = 1672531200
"""The time stamp of every file: fixed, and late enough for zip."""
_LEVEL: Final = 4
"""Of nine: most of an environment is compiled already, and somebody waits for it."""


@dataclass(frozen=True)
class Layer:
    """A packed layer. `digest` is of the file, `diff_id` of what is in it before it was compressed."""

    path: Path
    digest: str
    diff_id: str
    size: int


class _Tee(io.RawIOBase):
    """Hashes what is written on its way."""

    def __init__(self, target: BinaryIO | gzip.GzipFile) -> None:
        super().__init__()
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._hash.update(data)
        self._target.write(data)
        self.size += len(data)
        return len(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def pack_tree(root: Path, place: str, target: Path, alive: Callable[[], None]) -> Layer:
    """The directory `root` as the image's directory `place`, such as opt/venv. `alive` is called for each file."""
    return _pack(_tree(root, place, alive), target)


def pack_file(content: bytes, place: str, target: Path) -> Layer:
    """One file, in a directory that the image has already."""
    entry = _entry(place, 0o644)
    entry.size = len(content)
    return _pack(iter([(entry, io.BytesIO(content))]), target)


def _tree(root: Path, place: str, alive: Callable[[], None]) -> Iterator[tuple[tarfile.TarInfo, BinaryIO | None]]:
    for above in reversed(Path(place).parents[:-1]):
        yield _directory(above.as_posix()), None
    yield _directory(place), None
    for path in sorted(root.rglob("*")):
        alive()
        name = f"{place}/{path.relative_to(root).as_posix()}"
        if path.is_symlink():
            entry = _entry(name, 0o777)
            entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
            yield entry, None
        elif path.is_dir():
            yield _directory(name), None
        elif path.is_file():
            status = path.stat()
            entry = _entry(name, 0o755 if status.st_mode & 0o100 else 0o644)
            entry.size = status.st_size
            with path.open("rb") as stream:
                yield entry, stream


def _pack(entries: Iterator[tuple[tarfile.TarInfo, BinaryIO | None]], target: Path) -> Layer:
    with target.open("wb") as file:
        outside = _Tee(file)
        with gzip.GzipFile("", "wb", _LEVEL, outside, mtime=0) as packed:
            inside = _Tee(packed)
            with tarfile.open(fileobj=inside, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                for entry, stream in entries:
                    archive.addfile(entry, stream)
    return Layer(target, outside.digest, inside.digest, outside.size)


def _entry(name: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.mtime = mode, EPOCH
    return entry


def _directory(name: str) -> tarfile.TarInfo:
    entry = _entry(name, 0o755)
    entry.type = tarfile.DIRTYPE
    return entry
