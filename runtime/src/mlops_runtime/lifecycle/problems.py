# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is wrong now with what the controller needs: said once in the log, and by its health while it lasts."""

from __future__ import annotations

import logging
from typing import Final

from mlops_runtime.lifecycle import metrics

log = logging.getLogger(__name__)

LEDGER: Final = "ledger"
REGISTRY: Final = "registry"
PIPELINES: Final = "pipelines"
AGENT: Final = "agent"


class Problems:
    """For one event loop."""

    def __init__(self) -> None:
        self.now: dict[str, str] = {}

    def say(self, system: str, problem: str) -> None:
        metrics.FAILURES.labels(system).inc()
        if self.now.get(system) != problem:
            log.warning("%s: %s", system, problem)
        self.now[system] = problem

    def over(self, system: str) -> None:
        if self.now.pop(system, None) is not None:
            log.info("%s: well again", system)
