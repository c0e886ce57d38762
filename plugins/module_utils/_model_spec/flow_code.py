# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A flow's code, packed so that the same code is the same archive, wherever and whenever that is done."""

from __future__ import annotations

import ast
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from .local import digest_of

#: The experiment whose artefacts the archives are: who may write there decides what runs.
EXPERIMENT = "mlops-pipelines"
FORMAT = 1
#: Of all files, unpacked. Code is small: data come from datasets, and libraries from the lock.
MAX_BYTES = 32 * 2**20
MAX_FILES = 2000
_MADE = frozenset({"build", "dist", "__pycache__"})


class BadArchive(ValueError):
    """Code that can't be packed, or an archive that isn't what it should be; the message says why."""


@dataclass(frozen=True)
class Archive:
    """``files``: relative path to SHA-256. ``code``: the tree's digest. ``lock``: the lock file's SHA-256, empty
    without one. ``image``: the reference that it runs in, empty where that is not known."""

    body: bytes
    files: Mapping[str, str]
    code: str
    lock: str
    image: str

    @property
    def version(self) -> str:
        return version_of(self.code, self.lock, self.image)

    def manifest(self) -> bytes:
        document = {"format": FORMAT, "code": self.code, "lock": self.lock, "image": self.image}
        return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def version_of(code: str, lock: str, image: str) -> str:
    """The pipeline's version: SHA-256 of what it is made of."""
    return hashlib.sha256(f"code {code}\nlock {lock}\nimage {image}\n".encode()).hexdigest()


def place_of(model: str) -> str:
    """Where the archives of a model's flow lie, below the experiment's artefacts."""
    return f"code/{model}"


def pack(directory: Path, *, lock: str = "", image: str = "", exclude: Iterable[str] = ()) -> Archive:
    """The directory's files, but for hidden ones, what is made (``build``, ``dist``, ``__pycache__``), and what fits a
    pattern of ``exclude``.

    ``lock``: the file, relative to the directory, that the flow's environment is made from. Raises BadArchive for a
    link, too many files or too many bytes.
    """
    patterns = tuple(exclude)
    paths = {path.relative_to(directory).as_posix(): path for path in sorted(directory.rglob("*"))}
    taken = {name: path for name, path in paths.items() if _is_code(name, patterns)}
    if links := [name for name, path in taken.items() if path.is_symlink()]:
        raise BadArchive(f"{links[0]} is a link: copy it in, or exclude it")
    files = {name: path for name, path in taken.items() if path.is_file()}
    size = sum(path.stat().st_size for path in files.values())
    if not files:
        raise BadArchive(f"{directory} has no files")
    if size > MAX_BYTES or len(files) > MAX_FILES:
        raise BadArchive(
            f"{directory} has {len(files)} files with {size} bytes, at most {MAX_FILES} with {MAX_BYTES} are taken: "
            "exclude what is no code"
        )
    if lock and lock not in files:
        raise BadArchive(f"the lock {lock} is none of the files of {directory}")
    content = {name: path.read_bytes() for name, path in files.items()}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    return Archive(_tar(content), hashes, digest_of(hashes), hashes.get(lock, ""), image)


def flow_parameters(file: Path, function: str) -> dict[str, bool]:
    """What the flow takes by name, and whether it has to be given. Reads the code, runs nothing.

    Raises BadArchive where there is no such function.
    """
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except (OSError, SyntaxError, ValueError) as error:
        raise BadArchive(f"{file} can't be read: {error}") from error
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function:
            given = node.args
            places = [*given.posonlyargs, *given.args]
            needed = len(places) - len(given.defaults)
            found = {one.arg: place < needed for place, one in enumerate(places)}
            return found | {
                one.arg: default is None for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
            }
    raise BadArchive(f"{file} has no function {function}")


def _tar(content: Mapping[str, bytes]) -> bytes:
    """Sorted, without dates, owners and modes."""
    out = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in sorted(content):
            member = tarfile.TarInfo(name)
            member.size = len(content[name])
            tar.addfile(member, io.BytesIO(content[name]))
    return out.getvalue()


def _is_code(name: str, patterns: tuple[str, ...]) -> bool:
    parts = PurePosixPath(name).parts
    if any(part.startswith(".") or part in _MADE for part in parts):
        return False
    above = [str(PurePosixPath(*parts[: depth + 1])) for depth in range(len(parts))]
    return not any(fnmatch(place, pattern.rstrip("/")) for place in above for pattern in patterns)
