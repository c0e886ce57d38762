# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The bed itself: made again it changes nothing, and it leaves no trace."""

from __future__ import annotations

import pytest
from on_bed import engine_process
from swarm import Bed, BedError
from traces import traces


def test_up_twice_and_down_without_a_trace() -> None:
    bed = Bed("citrace")
    try:
        bed.up()
        before = [engine_process(node) for node in bed.nodes]
        assert len(bed.nodes[2].ask("GET", "/nodes")) == 3
        bed.up()
        assert [engine_process(node) for node in bed.nodes] == before
        assert traces("citrace")
    except BedError as error:
        pytest.skip(str(error))
    finally:
        bed.down()
    assert traces("citrace") == set()
