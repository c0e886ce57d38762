# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests as files in a directory that remembers which of its files are ours. Control host only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from ansible_collections.mlops.onprem.plugins.module_utils._workload import WorkloadError

INDEX = ".manifests.json"
HEADER = "# Written by mlops.onprem.workload_manifest, which writes it again: change the inventory instead.\n"
# What no reader of YAML, of whatever version, takes for a number, a date, a boolean or nothing.
_WORD = re.compile(r"^[A-Za-z/][A-Za-z0-9_./@:=-]*$")
_SINGLE = re.compile(r"^[yYnN]$")


class _Dumper(yaml.SafeDumper):
    """Block style, keys as they come, no aliases, long texts as they are, and quotes wherever a reader might guess."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, **_how: bool) -> None:
        super().increase_indent(flow, False)


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    if "\n" in value:
        style: str | None = "|"
    elif _WORD.match(value) and not _SINGLE.match(value) and not value.endswith(":"):
        style = None  # PyYAML itself quotes true, null and their like
    else:
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _text)


def to_yaml(documents: Iterable[Any], comment: str = "") -> str:
    """The same text for the same data, with a line that says where it comes from."""
    # Ansible's strings know where they come from, which YAML can't say: plain ones go in.
    plain = [json.loads(json.dumps(document)) for document in documents]
    texts = [
        yaml.dump(item, Dumper=_Dumper, sort_keys=False, width=10**6, allow_unicode=True, default_flow_style=False)
        for item in plain
    ]
    return HEADER + comment + "".join(f"---\n{text}" for text in texts)


@dataclass
class Changes:
    """What differs between the directory and what is to be in it; paths are relative, with slashes."""

    write: dict[str, str] = field(default_factory=dict)
    remove: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.write or self.remove)


class Directory:
    """The files of one target. Its index says what each set has here, so that stale files go and foreign ones stay."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sets: dict[str, dict[str, Any]] = {}
        self.files: list[str] = []
        path = root / INDEX
        if not path.is_file():
            return
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            self.sets = {str(name): dict(entry) for name, entry in data["sets"].items()}
            self.files = [_relative(name) for name in data["files"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WorkloadError(
                f"{path} is not what was written ({error}): bring it back, or empty the directory"
            ) from error

    def changes(self, files: Mapping[str, str], sets: Mapping[str, Any]) -> Changes:
        """From what is there to exactly these files (beside those of others), for these sets."""
        wanted = {**files, INDEX: _index(sets, files)} if files else {}
        ours = {*self.files, INDEX}
        found = Changes()
        foreign = []
        for name, text in sorted(wanted.items()):
            old = self.read(name)
            if old == text:
                continue
            if old is not None and name not in ours and not old.startswith(HEADER):
                foreign.append(str(self.root / name))
            found.write[name] = text
            found.diff.append(self._diff(name, old or "", text))
        if foreign:
            raise WorkloadError("Files that somebody else wrote are in the way", problems=foreign)
        for name in sorted(ours - set(wanted)):
            old = self.read(name)
            if old is not None:
                found.remove.append(name)
                found.diff.append(self._diff(name, old, ""))
        return found

    def make(self, changes: Changes) -> None:
        """A run that is interrupted leaves an index with all that it may have written, so the next one goes on."""
        if not changes:
            return
        self._write(INDEX, _index(self.sets, {*self.files, *changes.write} - {INDEX}))
        for name in sorted({*changes.write} - {INDEX}):
            self._write(name, changes.write[name])
        for name in sorted({*changes.remove} - {INDEX}):
            (self.root / name).unlink(missing_ok=True)
            self._remove_empty((self.root / name).parent)
        if INDEX in changes.remove:
            (self.root / INDEX).unlink()
            self._remove_empty(self.root)
        elif INDEX in changes.write:
            self._write(INDEX, changes.write[INDEX])
        else:
            self._write(INDEX, _index(self.sets, self.files))

    def read(self, name: str) -> str | None:
        path = self.root / name
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (UnicodeDecodeError, IsADirectoryError, NotADirectoryError) as error:
            raise WorkloadError(f"{path} is in the way: {error}") from error

    def _write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.new")
        draft.write_text(text, encoding="utf-8")
        draft.chmod(0o644)
        draft.replace(path)

    def _remove_empty(self, folder: Path) -> None:
        """The folder and those above it, up to the target's own, as far as nothing is left in them."""
        while folder.is_relative_to(self.root) and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def _diff(self, name: str, before: str, after: str) -> dict[str, str]:
        path = str(self.root / name)
        return {"before_header": path, "after_header": path, "before": before, "after": after}


def _index(sets: Mapping[str, Any], files: Iterable[str]) -> str:
    return json.dumps({"sets": sets, "files": sorted(files)}, indent=1, sort_keys=True) + "\n"


def _relative(name: Any) -> str:
    """An index that names files outside its directory is no index of ours."""
    path = PurePosixPath(str(name))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"{name!r} is no path below the directory")
    return str(path)
