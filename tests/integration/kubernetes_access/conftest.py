# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The cluster that MLOPS_KUBECONFIG names, or the bed of this machine, which is made where there is none."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
for place in (ROOT / ".collections", Path(__file__).parent, ROOT / "tests" / "integration" / "kubernetes"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

from site_cluster import Cluster, testbed  # noqa: E402 - found only now


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """An administrator's view."""
    known, made = os.environ.get("MLOPS_KUBECONFIG"), False
    if not known:
        try:
            known = testbed("kubeconfig")
        except RuntimeError:
            if os.geteuid():
                pytest.skip("MLOPS_KUBECONFIG names no cluster, and only root can make one")
            testbed("up")
            made, known = True, testbed("kubeconfig")
    cluster = Cluster(Path(known))
    try:
        yield cluster
    finally:
        cluster.clean()
        if made:
            testbed("down")


@pytest.fixture
def name(cluster: Cluster) -> str:
    """Of a platform that isn't there."""
    return f"t-a{secrets.token_hex(3)}"
