# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Several pipeline servers: one variable brings and removes them, and a run outlives the crash of each part."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from installed import ROOT, Platform

SEVERAL = ("-e", '{"prefect_servers": 2}')
TOKEN = f"servers-{os.getpid()}"


@pytest.fixture
def several(platform: Platform) -> Iterator[None]:
    if "prefect" not in platform.facts["components"]:
        pytest.skip("prefect is not among the platform's components")
    done = platform.playbook(*SEVERAL)
    assert done.code == 0, done.end
    yield
    done = platform.playbook()
    assert done.code == 0, done.end
    assert beside(platform) == set()


def beside(platform: Platform) -> set[str]:
    """What runs beside the servers only where there are several."""
    running = platform.site.running().values()
    return {name for name in ("prefect-services", "prefect-valkey") if any(one.endswith(name) for one in running)}


def asked(platform: Platform, *arguments: str) -> None:
    """The conformance suite's questions to the pipeline server."""
    gateway = platform.gateway
    command = [sys.executable, ROOT / "tests/conformance/pipelines.py", "--pool=default", f"--url={gateway.url}"]
    command += [f"--address={gateway.address}", f"--ca={gateway.ca}", *arguments]
    login = {"PREFECT_AUTH_STRING": f"admin:{platform.secrets['secrets.prefect_admin_password']}"}
    done = subprocess.run(
        command, env={**os.environ, **login}, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_part_of_several_servers_may_crash(platform: Platform, several: None) -> None:
    assert beside(platform) == {"prefect-services", "prefect-valkey"}
    again = platform.playbook(*SEVERAL)
    assert (again.code, again.changed) == (0, {"0"}), again.end
    asked(platform)
    asked(platform, f"--token={TOKEN}", "--begin=60")
    for workload in ("prefect", "prefect-valkey", "prefect-services"):
        platform.site.crash(workload)
    asked(platform, f"--token={TOKEN}", "--finish")
    asked(platform)
