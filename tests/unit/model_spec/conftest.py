# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The collection by its full name, from the checkout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT / ".collections") not in sys.path:
    sys.path.insert(0, str(ROOT / ".collections"))

LOCK = "numpy==2.0.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via -r requirements.in\n"


@pytest.fixture
def declared(tmp_path: Path) -> dict[str, Any]:
    """The shortest declaration, with all that it names below ``tmp_path``."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}\n")
    (tmp_path / "requirements.txt").write_text(LOCK)
    return {"name": "iris", "source": {"path": "model"}, "requirements": "requirements.txt"}
