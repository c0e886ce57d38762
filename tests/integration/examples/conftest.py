# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""One trained example for all tests, and a platform that it asks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from checkout import copy_to, train  # noqa: E402 - found only now
from recorded_platform import RecordedPlatform  # noqa: E402


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    code = copy_to(tmp_path_factory.mktemp("checkout") / "landcover")
    train(code)
    return code


@pytest.fixture
def platform() -> Iterator[RecordedPlatform]:
    with RecordedPlatform.started() as running:
        yield running
