# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The collection by its full name, from the checkout, and a host that is nothing but files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
for place in (ROOT / ".collections", Path(__file__).parent):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

from fake_host import FakeHost  # noqa: E402 - found only now


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    (tmp_path / "proc").mkdir()
    return FakeHost(tmp_path)
