# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from ansible_collections.mlops.onprem.plugins.module_utils._images.rootfs import mmdebstrap, packages


def test_packages_are_lines_without_remarks() -> None:
    assert packages("# all\nwget # why\n\n tini\n") == ["wget", "tini"]


def test_command(tmp_path: Path) -> None:
    sources = tmp_path / "sources.list"
    plain = mmdebstrap("bookworm", ["wget"], sources, merged_usr=tmp_path / "no", keyring=tmp_path / "no")
    assert plain[0] == "mmdebstrap" and plain[-3:] == ["bookworm", "-", str(sources)]
    assert "--include=wget" in plain
    (tmp_path / "keyring.gpg").touch()
    full = mmdebstrap(
        "bookworm", ["wget"], sources, merged_usr=tmp_path, keyring=tmp_path / "keyring.gpg", ca_bundle=Path("/ca.pem")
    )
    assert "--include=wget,usr-is-merged" in full and f"--hook-dir={tmp_path}" in full
    assert f"--keyring={tmp_path / 'keyring.gpg'}" in full and '--aptopt=Acquire::https::CAInfo "/ca.pem"' in full


def test_nothing_of_the_hosts_mirrors_stays() -> None:
    (hook,) = [part for part in mmdebstrap("bookworm", [], Path("s")) if part.startswith("--customize-hook")]
    for path in ("/etc/apt/sources.list", "/etc/apt/sources.list.d/*", "99mmdebstrap", "/etc/resolv.conf"):
        assert path in hook
