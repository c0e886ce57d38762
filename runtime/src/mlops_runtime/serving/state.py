# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Whether this process can predict, and if not, why."""

from __future__ import annotations

import asyncio
import contextlib

from mlops_runtime.serving.seldon import SeldonMicroserviceException


class State:
    """Loading, then ready, then draining."""

    def __init__(self) -> None:
        self._not_ready: str | None = "the model is loading"
        self._settled = asyncio.Event()
        self.draining = False

    def because(self, reason: str) -> None:
        self._not_ready = reason

    def ready(self) -> None:
        self._not_ready = None
        self._settled.set()

    def give_up(self) -> None:
        """Nobody need wait any more."""
        self._settled.set()

    async def wait(self, seconds: float) -> None:
        """Until it is ready, or given up, or so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), seconds)

    def drain(self) -> None:
        """From now on unready on the health paths only: requests on their way are still answered."""
        self.draining = True

    def require_ready(self) -> None:
        if self._not_ready is not None:
            raise SeldonMicroserviceException(self._not_ready, 503, reason="MICROSERVICE_NOT_READY")

    def require_healthy(self) -> None:
        self.require_ready()
        if self.draining:
            raise SeldonMicroserviceException("the model server is stopping", 503, reason="MICROSERVICE_STOPPING")
