# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A platform whose hosts are those of a test bed, and may be switched off."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import k8s
import pytest
import swarm
from installed import Platform, wait_for

BEDS = {"swarm": swarm.Bed, "kubernetes": k8s.Bed}


def bed_of(platform: Platform) -> Any:
    """The bed; skips where the platform has none."""
    if not platform.facts["bed"]:
        pytest.skip("needs a test bed")
    return BEDS[platform.facts["target"]](platform.facts["bed"])


@contextlib.contextmanager
def stopped(bed: Any, node: Any) -> Iterator[None]:
    """While the node's plug is pulled."""
    node.stop()
    try:
        yield
    finally:
        bed.start(node)


def settled(platform: Platform) -> None:
    """All is healthy again, and there is nothing left to do."""
    wait_for(lambda: platform.playbook(name="health").code == 0, seconds=240, what="all is healthy")
    done = platform.playbook()
    assert (done.code, done.changed) == (0, {"0"}), done.end
