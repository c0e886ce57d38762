# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's operating system, memory and disk."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from pathlib import Path

GIB = 1024**3


def os_release(root: Path = Path("/")) -> dict[str, str]:
    """See os-release(5)."""
    for place in ("etc/os-release", "usr/lib/os-release"):
        with contextlib.suppress(OSError):
            lines = (root / place).read_text().splitlines()
            pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
            return {name: "".join(shlex.split(value)) if value else "" for name, _equals, value in pairs}
    return {}


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def memory_mb(root: Path = Path("/")) -> int:
    """0 where it can't be read."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) // 1024
    return 0


def free_gb(path: Path) -> tuple[Path, float]:
    """Free space for a directory that may not be there yet, and the directory that it would be made in."""
    while not path.exists() and path != path.parent:
        path = path.parent
    status = os.statvfs(path)
    return path, status.f_bavail * status.f_frsize / GIB
