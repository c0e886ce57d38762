# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The collection by its full name, and what runs inside the image."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
for place in (ROOT / ".collections", ROOT / "images/kafka"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))
