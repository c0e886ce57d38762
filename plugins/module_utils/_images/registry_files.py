# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry's files on the host: certificate, key and users."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from .errors import ImagesError

_OWNER = 10001
_MODE = 0o400


def htpasswd(users: Mapping[str, str], current: str) -> str:
    """Lines of users with bcrypt hashes. A line whose hash still fits its password stays as it is."""
    known = dict(line.partition(":")[::2] for line in current.splitlines())
    lines = []
    for name, password in sorted(users.items()):
        if len(password.encode()) > 72:
            raise ImagesError(
                f"the password of the registry's user {name} is longer than the 72 bytes that bcrypt takes"
            )
        kept = known.get(name, "")
        lines.append(f"{name}:{kept if kept and _hash(password, kept) == kept else _hash(password)}\n")
    return "".join(lines)


def _hash(password: str, like: str = "") -> str:
    """The bcrypt hash, with the salt of *like* where there is one; an empty text where that isn't a hash."""
    try:
        import bcrypt
    except ImportError:
        return _system_hash(password, like)
    try:
        return str(bcrypt.hashpw(password.encode(), like.encode() or bcrypt.gensalt(10)).decode())
    except ValueError:
        return ""


def _system_hash(password: str, like: str) -> str:
    """The same by the C library's crypt, which Python has until 3.12: hosts need no further package."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import crypt
    except ImportError as error:
        raise ImagesError("the registry's users need the Python package bcrypt on the host that runs it") from error
    try:
        return crypt.crypt(password, like or crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=1024)) or ""  # noqa: S324 - bcrypt
    except OSError:
        return ""


def changed(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Names of files that are missing, have another content, or are open to others."""
    return [name for name, content in files.items() if not _is(folder / name, content)]


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Each file whole or not at all, readable by the registry's user alone."""
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
