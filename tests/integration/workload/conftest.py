# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cluster import Cluster, WorkloadError, base_image, build_images  # noqa: E402


@pytest.fixture(scope="session")
def swarm() -> Iterator[Cluster]:
    try:
        cluster = Cluster()
        cluster.engine.get("/nodes")
    except WorkloadError as error:
        pytest.skip(f"no Swarm here: {error}")
    base = base_image(cluster.engine)
    if base is None:
        pytest.skip("no base image here: site.yml builds it")
    cluster.clean()
    build_images(cluster.engine, base)
    yield cluster
    cluster.clean()


@pytest.fixture
def cluster(swarm: Cluster) -> Iterator[Cluster]:
    """With nothing in it, and nothing left of it."""
    yield swarm
    swarm.clean()
    assert not any(swarm.objects().values()), swarm.objects()
