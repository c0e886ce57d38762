# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command that makes the base image's root file system from Debian packages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

# Documents of packages stay out, their licences stay in.
_EXCLUDED = ("doc", "man", "locale", "info", "lintian", "bash-completion")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MERGED_USR = Path("/usr/share/mmdebstrap/hooks/merged-usr")
# What is this host's alone: mirrors, names, logs, caches.
_CLEAN = (
    'rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/apt.conf.d/99mmdebstrap '
    '"$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/var/log/*.log "$1"/var/log/apt '
    '"$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old "$1"/var/cache/ldconfig/aux-cache'
)


def packages(text: str) -> list[str]:
    """Names, one a line; # begins a comment."""
    return [name for line in text.splitlines() if (name := line.split("#", 1)[0].strip())]


def mmdebstrap(
    suite: str,
    include: Sequence[str],
    sources: Path,
    *,
    ca_bundle: Path | None = None,
    merged_usr: Path = _MERGED_USR,
    keyring: Path = KEYRING,
) -> list[str]:
    """Writes the tar to standard output. *sources*: a file of apt sources in one-line form."""
    command = ["mmdebstrap", "--variant=apt", "--format=tar"]
    wanted = list(include)
    if merged_usr.is_dir():
        # Without it, init-system-helpers asks for usrmerge, and that for the whole of perl.
        command.append(f"--hook-dir={merged_usr}")
        wanted.append("usr-is-merged")
    if keyring.is_file():
        command.append(f"--keyring={keyring}")
    if ca_bundle is not None:
        command.append(f'--aptopt=Acquire::https::CAInfo "{ca_bundle}"')
    command.append(f"--include={','.join(wanted)}")
    command += ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Retries "3"']
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _EXCLUDED]
    command.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    command.append(f"--customize-hook={_CLEAN}")
    command += [suite, "-", str(sources)]
    return command
