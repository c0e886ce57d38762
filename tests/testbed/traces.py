# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a bed has on this machine, and could leave there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from nodes import CONTROL_GROUPS


def traces(name: str) -> set[str]:
    """Links, rules, mounts, processes, control groups and directories of the bed of that name."""
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
    for pattern in (f"mlops-testbed-{name}-*", f"*/mlops-testbed-{name}-*"):
        found |= {str(group) for group in CONTROL_GROUPS.glob(pattern)}
    if Path(base, name).exists():
        found.add(f"{base}/{name}")
    return found
