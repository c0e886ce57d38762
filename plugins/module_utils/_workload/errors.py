# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The one exception of the seam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class WorkloadError(Exception):
    """What went wrong, in words that a user can act upon.

    ``problems`` are the single findings where there are several (a declaration's, or one per workload that failed);
    ``result`` is what had been done until then, where anything had.
    """

    def __init__(self, message: str, *, problems: Sequence[str] = (), result: Any = None) -> None:
        self.message = message
        self.problems = list(problems)
        self.result = result
        super().__init__(message if not self.problems else message + ": " + "; ".join(self.problems))
