# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cluster import Cluster, WorkloadError, base_image, build_images


@pytest.fixture(scope="session")
def images() -> None:
    try:
        cluster = Cluster("t-workload")
        cluster.engine.get("/nodes")
    except WorkloadError as error:
        pytest.skip(f"no Swarm here: {error}")
    base = base_image(cluster.engine)
    if base is None:
        pytest.skip("no base image here: site.yml builds it")
    build_images(cluster.engine, base)


@pytest.fixture(scope="session")
def cleaners() -> Iterator[list[threading.Thread]]:
    """What removes the tests' namespaces while the next tests run already."""
    threads: list[threading.Thread] = []
    yield threads
    for thread in threads:
        thread.join(180)


@pytest.fixture
def cluster(images: None, cleaners: list[threading.Thread], request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A namespace of the test's own, with nothing in it."""
    made = Cluster(f"t-wl{request.session.items.index(request.node)}")
    made.clean()
    yield made
    cleaners.append(threading.Thread(target=Cluster(made.namespace).clean))
    cleaners[-1].start()


@pytest.fixture(scope="session", autouse=True)
def _nothing_left(cleaners: list[threading.Thread]) -> Iterator[None]:
    yield
    for thread in cleaners:
        thread.join(180)
    if cleaners:
        engine = Cluster("t-workload").engine
        names = [item["Name"] for item in [*engine.get("/networks"), *(engine.get("/volumes")["Volumes"] or [])]]
        names += [
            item["Spec"]["Name"] for kind in ("services", "configs", "secrets") for item in engine.get(f"/{kind}")
        ]
        assert not [name for name in names if name.startswith("t-wl")]
