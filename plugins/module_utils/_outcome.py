# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module's call came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """``value`` is the thing as it is now, or as it would be in check mode; None where it is absent."""

    changed: bool
    before: dict[str, Any]
    after: dict[str, Any]
    value: dict[str, Any] | None = None
