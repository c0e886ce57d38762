# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on a host for a container that runs there, which its user alone can read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

_OWNER = 10001
_MODE = 0o400


def changed(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Names of files that are missing, have another content, or are open to others."""
    return [name for name, content in files.items() if not _is(folder / name, content)]


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Each file whole or not at all, readable by the container's user alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        draft = folder / f".{name}.new"
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "w") as stream:
            stream.write(content)
        os.chown(draft, _OWNER, _OWNER)
        draft.replace(folder / name)


def newest(folder: Path, files: Mapping[str, str]) -> float:
    """When the youngest of these files was written, as seconds since the epoch."""
    return max(((folder / name).stat().st_mtime for name in files if (folder / name).exists()), default=0.0)


def _is(path: Path, content: str) -> bool:
    try:
        status = path.stat()
        same = hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(content.encode()).digest()
    except OSError:
        return False
    return same and status.st_mode & 0o777 == _MODE and status.st_uid == _OWNER
