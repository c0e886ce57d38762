# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry's users."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from .errors import ImagesError


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
