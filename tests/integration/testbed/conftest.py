# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes bed of two nodes, built where that isn't done yet."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
for place in (ROOT / "tests" / "testbed", Path(__file__).parent):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

from k8s import Bed  # noqa: E402 - found only now
from on_kubernetes import TUNABLES, Cluster  # noqa: E402
from traces import traces  # noqa: E402

NAME = "cik8s"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if os.geteuid():
        pytest.skip("needs root")
    before = {path: path.read_text() for path in TUNABLES if path.exists()}
    Bed(NAME).down()
    bed = Bed(NAME, 2)
    try:
        bed.up()
        yield Cluster(bed)
    finally:
        bed.down()
    assert traces(NAME) == set()
    assert {path: path.read_text() for path in before} == before
