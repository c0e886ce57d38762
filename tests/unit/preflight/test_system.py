# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from ansible_collections.mlops.onprem.plugins.module_utils._host import system
from fake_host import FakeHost


def test_the_operating_system(host: FakeHost) -> None:
    host.write("etc/os-release", '# a comment\nID=ubuntu\nVERSION_ID="22.04"\nPRETTY_NAME="Ubuntu 22.04 LTS"\nEMPTY=\n')
    release = system.os_release(host.root)
    assert (release["ID"], release["VERSION_ID"], release["EMPTY"]) == ("ubuntu", "22.04", "")
    assert system.os_release(host.root / "proc") == {}


def test_versions_compare_as_numbers() -> None:
    assert system.numbers("24.04") > system.numbers("22.04") > system.numbers("9")
    assert system.numbers("") < system.numbers("12")


def test_memory(host: FakeHost) -> None:
    host.write("proc/meminfo", "MemTotal:        4028416 kB\nMemFree: 1 kB\n")
    assert system.memory_mb(host.root) == 3934
    assert system.memory_mb(host.root / "proc") == 0


def test_free_space_of_a_directory_that_is_not_there_yet(tmp_path: Path) -> None:
    where, free = system.free_gb(tmp_path / "var/lib/docker")
    assert where == tmp_path
    assert free > 0
