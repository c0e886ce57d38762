# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the controller: `python -m mlops_runtime.lifecycle`; with `migrate` it brings the ledger's schema up to date."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys

import psycopg
import uvicorn
from starlette.types import Receive, Scope, Send

from mlops_runtime.contracts.mlflow import MlflowError
from mlops_runtime.contracts.settings import SettingsError
from mlops_runtime.lifecycle.ledger.database import LedgerError, migrate
from mlops_runtime.lifecycle.settings import read_database, read_settings

log = logging.getLogger("mlops_runtime.lifecycle")


def main() -> int:
    parser = argparse.ArgumentParser(prog="mlops_runtime.lifecycle", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["serve", "migrate"], default="serve")
    command = parser.parse_args().command
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # It would log each request to the pipeline server.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        return _migrate() if command == "migrate" else _serve()
    except (SettingsError, MlflowError, ValueError) as error:
        log.error("%s", error)
        return 2


def _migrate() -> int:
    try:
        steps = asyncio.run(migrate(read_database(os.environ)))
    except (psycopg.Error, LedgerError) as error:
        log.error("The ledger's schema can't be brought up to date: %s", error)
        return 1
    log.info("The ledger's schema is up to date (%d steps taken)", steps)
    return 0


def _serve() -> int:
    from mlops_runtime.lifecycle.app import Interface
    from mlops_runtime.lifecycle.clients import Clients
    from mlops_runtime.lifecycle.controller import Controller

    settings = read_settings(os.environ)
    clients = Clients.read(settings.clients_file)
    interface = Interface(Controller(settings), clients, settings.clients_file.read_bytes())
    public, inside = interface.app(), interface.inside()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """One process listens at two ports; what starts and stops is the public one's."""
        at_inside = scope["type"] != "lifespan" and scope["server"][1] == settings.inside_port
        await (inside if at_inside else public)(scope, receive, send)

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        limit_concurrency=256,
    )
    sockets = [
        uvicorn.Config(app, host=settings.host, port=port, log_level="warning").bind_socket()
        for port in (settings.port, settings.inside_port)
    ]
    uvicorn.Server(config).run(sockets)
    return 0


if __name__ == "__main__":
    sys.exit(main())
