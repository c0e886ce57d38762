# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The bed itself: made again it changes nothing, and it leaves no trace."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from on_bed import engine_process
from swarm import Bed, BedError


def traces(name: str) -> set[str]:
    """What a bed could leave on this machine."""
    commands = (["ip", "-brief", "link"], ["iptables-save"], ["cat", "/proc/self/mounts"])
    lines = [line for command in commands for line in subprocess.check_output(command, text=True).splitlines()]
    base = os.environ.get("MLOPS_TESTBED_DIRECTORY", "/var/tmp/mlops-testbed")
    found = {line for line in lines if f"bed-{name}" in line or f"mlops-testbed-{name}" in line}
    found |= {line for line in lines if f"{base}/{name}/" in line}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            mounts = (process / "mounts").read_text()
        except OSError:
            continue
        if f"{base}/{name}/" in mounts:
            found.add(f"process {process.name}")
    if Path(base, name).exists():
        found.add(f"{base}/{name}")
    return found


def test_up_twice_and_down_without_a_trace() -> None:
    bed = Bed("citrace")
    try:
        bed.up()
        before = [engine_process(node) for node in bed.nodes]
        assert len(bed.nodes[2].ask("GET", "/nodes")) == 3
        bed.up()
        assert [engine_process(node) for node in bed.nodes] == before
        assert traces("citrace")
    except BedError as error:
        pytest.skip(str(error))
    finally:
        bed.down()
    assert traces("citrace") == set()
