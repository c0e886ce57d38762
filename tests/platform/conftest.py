# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import docker
import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "conformance")]

from installed import ROOT, Platform, read_secrets  # noqa: E402


@pytest.fixture(scope="session")
def platform() -> Platform:
    inventory = Path(os.environ.get("MLOPS_INVENTORY", ROOT / "molecule/default/inventory"))
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    listing = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(inventory), "--host", "localhost"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    client = docker.from_env(timeout=60)
    found = Platform(inventory, json.loads(listing.stdout), client, read_secrets(inventory))
    if not found.services():
        pytest.fail(f"nothing named {found.name} runs here: install it first, bin/site -i {inventory}")
    return found
