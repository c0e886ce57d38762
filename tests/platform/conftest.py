# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "conformance"), str(HERE.parent / "testbed")]

from installed import Platform, installed  # noqa: E402
from kubernetes_site import KubernetesSite  # noqa: E402
from swarm_site import SwarmSite  # noqa: E402


@pytest.fixture(scope="session")
def platform() -> Platform:
    found = installed()
    if not found.site.running():
        pytest.fail(f"nothing named {found.name} runs here: install it first, bin/site -i {found.inventory}")
    return found


@pytest.fixture(scope="session")
def swarm(platform: Platform) -> SwarmSite:
    if not isinstance(platform.site, SwarmSite):
        pytest.skip("the platform isn't on a Swarm")
    return platform.site


@pytest.fixture(scope="session")
def kubernetes(platform: Platform) -> KubernetesSite:
    if not isinstance(platform.site, KubernetesSite):
        pytest.skip("the platform isn't on Kubernetes")
    return platform.site
