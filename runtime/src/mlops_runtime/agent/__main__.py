# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the agent: `python -m mlops_runtime.agent`."""

from __future__ import annotations

import logging
import os
import sys

import uvicorn

from .app import Agent
from .clients import Clients
from .cluster import connector, listener, looker
from .settings import Settings


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        settings = Settings.read(os.environ)
        clients = Clients.read(settings.tokens_file)
        connect = connector(settings)
    except ValueError as error:
        print(f"agent: {error}", file=sys.stderr)
        return 2
    agent = Agent(settings, clients, connect, looker(connect), listener(connect))
    uvicorn.run(
        agent.app(),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
        limit_concurrency=512,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
