# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages, installed with apt-get alone: python3-apt needn't be there, and check mode touches nothing."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from .._errors import InputError
from .service import find_program, has_systemd

POLICY = Path("/usr/sbin/policy-rc.d")


def install(packages: Sequence[str], optional: Sequence[str] = ()) -> None:
    """Install packages, and those of ``optional`` that the host's sources have.

    Where the host has no systemd, the packages don't start their services: an init script that fails would fail the
    installation.

    :raises InputError: with the end of apt's output.
    """
    if find_program("apt-get") is None:
        raise InputError(
            f"{', '.join(packages)} can be installed on Debian and Ubuntu only: install Docker Engine here yourself"
        )
    _apt_get("update", "-qq")
    names = [*packages, *(package for package in optional if _known(package))]
    with contextlib.nullcontext() if has_systemd() else _services_held():
        _apt_get("install", "-y", "-qq", "--no-install-recommends", *names)


def _known(package: str) -> bool:
    done = subprocess.run(["apt-cache", "policy", package], text=True, capture_output=True, check=False, timeout=60)
    return "Candidate:" in done.stdout and "Candidate: (none)" not in done.stdout


def _apt_get(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l"}
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", *arguments]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False, timeout=1800,
    )  # fmt: skip
    if done.returncode:
        ending = "\n".join(done.stdout.strip().splitlines()[-10:])
        raise InputError(
            f"{' '.join(command)} failed (mlops_apt_sources, mlops_http_proxy may want setting):\n{ending}"
        )


@contextlib.contextmanager
def _services_held() -> Iterator[None]:
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
