# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The examples, what they share, and a platform that they ask."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
for folder in (ROOT / ".collections", EXAMPLES / "shared", Path(__file__).resolve().parent):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from recorded_platform import RecordedPlatform  # noqa: E402 - found only now


@pytest.fixture
def platform() -> Iterator[RecordedPlatform]:
    with RecordedPlatform.started() as running:
        yield running
