# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipes: what goes into an image, the key of all that, and the build context as a tar.

Runs on the control host, where the collection and the site's own files are. Pure: reads files, writes none.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import ImagesError
from .reference import Reference

# Part of every key: raise it when what this package does with a recipe changes.
RECIPE_FORMAT = 1
# The time stamp of every file in a context: fixed, and late enough for zip.
EPOCH = 1672531200
_LEFT_OUT_DIRECTORIES = {"__pycache__", ".git", ".mypy_cache", ".ruff_cache"}
_LEFT_OUT_SUFFIXES = {".pyc", ".in"}
_LEFT_OUT_NAMES = {"README.md", "Dockerfile.pull"}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class Recipe:
    """One row of the artefact table, checked."""

    name: str
    version: str
    licence: str
    evaluation: bool
    pull: str | None
    context: str | None
    files: Mapping[str, Any] = field(default_factory=dict)
    args: Mapping[str, str] = field(default_factory=dict)
    bases: tuple[str, ...] = ()

    @classmethod
    def parse(cls, name: str, row: Any) -> Recipe:
        if not isinstance(row, Mapping):
            raise ImagesError(f"image {name!r}: its row in the artefact table isn't a mapping")
        unknown = set(row) - {"version", "pull", "build", "licence", "evaluation"}
        build = row.get("build") or {}
        unknown |= {f"build.{key}" for key in set(build) - {"context", "files", "args", "base"}}
        if unknown:
            raise ImagesError(f"image {name!r}: unknown keys in the artefact table: {', '.join(sorted(unknown))}")
        if not build.get("context") and not row.get("pull"):
            raise ImagesError(f"image {name!r}: the artefact table names neither 'pull' nor 'build.context'")
        pull = row.get("pull")
        if pull is not None and not (Reference.parse(pull).tag or Reference.parse(pull).digest):
            raise ImagesError(f"image {name!r}: 'pull' must name an exact version: {pull!r}")
        if pull is not None and Reference.parse(pull).tag == "latest":
            raise ImagesError(f"image {name!r}: 'pull' must name an exact version, not latest")
        bases = build.get("base") or ()
        return cls(
            name=name,
            version=str(row.get("version", "")),
            licence=str(row.get("licence", "")),
            evaluation=bool(row.get("evaluation", False)),
            pull=pull,
            context=build.get("context"),
            files=dict(build.get("files") or {}),
            args={str(key): str(value) for key, value in (build.get("args") or {}).items()},
            bases=(bases,) if isinstance(bases, str) else tuple(bases),
        )


@dataclass(frozen=True)
class File:
    """One file of a context; executable if it starts with a shebang, whatever the file system says."""

    content: bytes

    @property
    def mode(self) -> int:
        return 0o755 if self.content.startswith(b"#!") else 0o644

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class Table:
    """The artefact table together with the files that its recipes name.

    *root* is the collection's directory; paths of the site's own recipes may also be absolute.
    """

    def __init__(self, artifacts: Mapping[str, Any], root: Path, rootfs_from: str | None = None) -> None:
        self.root = root
        self.rootfs_from = rootfs_from or None
        self.recipes = {str(name): Recipe.parse(str(name), row) for name, row in artifacts.items()}
        self._keys: dict[str, str] = {}

    def recipe(self, name: str) -> Recipe:
        try:
            return self.recipes[name]
        except KeyError:
            known = ", ".join(sorted(self.recipes))
            raise ImagesError(f"there is no image {name!r} in the artefact table; it has {known}") from None

    def order(self, names: Iterable[str]) -> list[str]:
        """The given images and all that they are built from, each after its bases."""
        done: list[str] = []

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in path:
                raise ImagesError(f"images are based on each other in a circle: {' -> '.join((*path, name))}")
            if name in done:
                return
            for base in self.recipe(name).bases:
                if not is_foreign(base):
                    visit(base, (*path, name))
            done.append(name)

        for name in names:
            visit(name, ())
        return done

    def files(self, name: str, *, on_upstream: bool = False) -> dict[str, File]:
        """The context of an image: destination -> file. *on_upstream*: for Dockerfile.pull instead of Dockerfile."""
        recipe = self.recipe(name)
        if recipe.context is None:
            raise ImagesError(f"image {name!r} has no recipe to build it by")
        folder = self._path(recipe.context)
        if not folder.is_dir():
            raise ImagesError(f"image {name!r}: there is no folder {recipe.context!r} to build it from")
        files = dict(_walk(folder))
        if on_upstream:
            files["Dockerfile"] = File((folder / "Dockerfile.pull").read_bytes())
        for destination, source in recipe.files.items():
            if isinstance(source, Mapping):
                files[destination] = File(str(source["content"]).encode())
                continue
            path = self._path(str(source))
            if path.is_dir():
                files |= {f"{destination}/{inner}": file for inner, file in _walk(path)}
            elif path.is_file():
                files[destination] = File(path.read_bytes())
            else:
                raise ImagesError(f"image {name!r}: there is no file or folder {source!r} for its context")
        if "Dockerfile" not in files:
            raise ImagesError(f"image {name!r}: there is no Dockerfile in {recipe.context!r}")
        return files

    def adapts_upstream(self, name: str) -> bool:
        """True where a pulled image needs a layer of ours (user, paths, entry point) to be the built one's equal."""
        context = self.recipe(name).context
        return context is not None and (self._path(context) / "Dockerfile.pull").is_file()

    def key(self, name: str) -> str:
        """Hash of all that goes in: the context's bytes, arguments, labels, and the keys of the bases."""
        if name not in self._keys:
            recipe = self.recipe(name)
            bases = {base: base if is_foreign(base) else self.key(base) for base in recipe.bases}
            material: dict[str, Any] = {
                "format": RECIPE_FORMAT,
                "files": {path: [file.mode, file.sha256] for path, file in self.files(name).items()},
                "args": dict(recipe.args),
                "version": recipe.version,
                "bases": bases,
            }
            if is_rootfs(name):
                material["from"] = self.rootfs_from
            self._keys[name] = _digest(material)[:16]
        return self._keys[name]

    def upstream_key(self, name: str) -> str:
        """Key of what is put on top of the pulled image; empty where nothing is."""
        if not self.adapts_upstream(name):
            return ""
        files = self.files(name, on_upstream=True)
        material = {path: [file.mode, file.sha256] for path, file in files.items()}
        return _digest({"format": RECIPE_FORMAT, "files": material, "version": self.recipe(name).version})[:16]

    def _path(self, path: str) -> Path:
        return self.root / path


def is_rootfs(name: str) -> bool:
    """The one image that starts from a root file system made on the build host."""
    return name == "base"


def is_foreign(base: str) -> bool:
    """A base that isn't a name of the table but a reference of the site's, which has to be by digest."""
    if not any(mark in base for mark in "/:@"):
        return False
    if Reference.parse(base).digest is None:
        raise ImagesError(f"the base image {base!r} must be named by digest (@sha256:...)")
    return True


def argument_name(base: str) -> str:
    """The build argument in which a Dockerfile gets the reference of a base."""
    return "BASE" if is_foreign(base) else base.upper()


def context_tar(files: Mapping[str, File]) -> bytes:
    """The same files give the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(files):
            entry = tarfile.TarInfo(path)
            entry.size = len(files[path].content)
            entry.mode = files[path].mode
            entry.mtime = EPOCH
            archive.addfile(entry, io.BytesIO(files[path].content))
    return buffer.getvalue()


def _walk(folder: Path) -> Iterable[tuple[str, File]]:
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if _LEFT_OUT_DIRECTORIES.intersection(inner.parts) or path.suffix in _LEFT_OUT_SUFFIXES:
            continue
        if path.name in _LEFT_OUT_NAMES or not path.is_file():
            continue
        yield inner.as_posix(), File(path.read_bytes())
