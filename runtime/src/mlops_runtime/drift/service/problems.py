# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is wrong now, by what it is about: said once in the log, and for as long as it lasts in the health's answer."""

from __future__ import annotations

import logging
import threading
from typing import Final

log = logging.getLogger(__name__)

BROKER: Final = "broker"
STATE: Final = "state"
COMMIT: Final = "commit"
ALL_SUFFER: Final = (BROKER, STATE, COMMIT)
"""While one of these lasts nothing is scored for good; others are of one topic."""


class Problems:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}

    def say(self, about: str, problem: str) -> None:
        with self._lock:
            before = self._known.get(about)
            self._known[about] = problem
        if before != problem:
            log.warning("%s: %s", about, problem)

    def over(self, about: str) -> None:
        with self._lock:
            ended = self._known.pop(about, None)
        if ended is not None:
            log.info("%s: well again", about)

    def __contains__(self, about: str) -> bool:
        return about in self._known

    def now(self) -> dict[str, str]:
        with self._lock:
            return dict(self._known)
