# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The cluster that MLOPS_KUBECONFIG names, or the bed of this machine, which is made where there is none."""

from __future__ import annotations

import os
import secrets
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cluster import Cluster, bed, bed_images

CALLED = secrets.token_hex(2)


@pytest.fixture(scope="session", autouse=True)
def kubeconfig() -> Iterator[str]:
    """An administrator's."""
    known = os.environ.get("MLOPS_KUBECONFIG")
    if known:
        yield known
        return
    made = False
    try:
        found = bed("kubeconfig")
    except RuntimeError:
        if os.geteuid():
            pytest.skip("MLOPS_KUBECONFIG names no cluster, and only root can make one")
        bed("up")
        made = True
        found = bed("kubeconfig")
    os.environ["MLOPS_KUBECONFIG"] = found
    try:
        yield found
    finally:
        del os.environ["MLOPS_KUBECONFIG"]
        if made:
            bed("down")


@pytest.fixture(scope="session")
def on_bed(kubeconfig: str) -> bool:
    """Whether the cluster is this machine's own, whose parts may be stopped."""
    try:
        return bed("kubeconfig") == kubeconfig
    except RuntimeError:
        return False


@pytest.fixture(scope="session")
def images(on_bed: bool) -> dict[str, str]:
    """Two references of a busybox, by digest."""
    if on_bed:
        return bed_images("one", "two")
    known = os.environ.get("MLOPS_KUBERNETES_IMAGES", "").split()
    if len(known) != 2:
        pytest.skip("MLOPS_KUBERNETES_IMAGES names no two references of a busybox, by digest, that the nodes can pull")
    return dict(zip(("one", "two"), known, strict=True))


@pytest.fixture(scope="session")
def cleaners() -> Iterator[list[threading.Thread]]:
    """What removes the tests' namespaces while the next tests run already."""
    threads: list[threading.Thread] = []
    yield threads
    for thread in threads:
        thread.join(180)


@pytest.fixture
def cluster(
    kubeconfig: str, images: dict[str, str], cleaners: list[threading.Thread], request: pytest.FixtureRequest
) -> Iterator[Cluster]:
    """A namespace of the test's own, with nothing in it."""
    made = Cluster(f"t-k{CALLED}-{request.session.items.index(request.node)}", kubeconfig, images)
    yield made
    cleaners.append(threading.Thread(target=Cluster(made.namespace, kubeconfig, images).clean))
    cleaners[-1].start()
