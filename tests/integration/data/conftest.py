# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from data_site import REGISTRY, Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("data"))
    if site.client.info()["Swarm"].get("ControlAvailable") is not True:
        pytest.skip("this machine is no manager of a Swarm")
    try:
        httpx.get(f"http://{REGISTRY}/v2/", timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        pytest.skip(f"no registry at {REGISTRY}: {error}")
    try:
        site.converge()
        yield site
    finally:
        site.play("absent.yml", mlops_remove_data=True)
