# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
for folder in (ROOT, ROOT / ".collections", HERE):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from small_set import Modules  # noqa: E402


@pytest.fixture
def modules(tmp_path: Path) -> Modules:
    return Modules(tmp_path)
