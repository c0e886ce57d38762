# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the service: `python -m mlops_runtime.drift.service`."""

from __future__ import annotations

import logging
import os
import signal
import sys

from confluent_kafka import KafkaException

from mlops_runtime.contracts.settings import SettingsError
from mlops_runtime.drift.service import health
from mlops_runtime.drift.service.catalogue import Catalogue, Source
from mlops_runtime.drift.service.directory import Directory
from mlops_runtime.drift.service.loop import Loop
from mlops_runtime.drift.service.metrics import Collector
from mlops_runtime.drift.service.settings import Settings, read_settings
from mlops_runtime.drift.web import Web, as_json

log = logging.getLogger("mlops_runtime.drift.service")


def main() -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        log.error("%s", error)
        return 2
    catalogue = Catalogue(_source(settings), settings.poll_seconds)
    loop = Loop(settings, catalogue)
    pages = {
        "/health/live": lambda: as_json(*health.live(loop)),
        "/health/ready": lambda: as_json(*health.ready(loop, catalogue, settings.lag)),
        "/state": lambda: as_json(200, health.state(loop, catalogue)),
    }
    web = Web(Collector(loop), pages, settings.port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    # A scrape gives way to the loop sooner than by default.
    sys.setswitchinterval(0.001)
    web.start()
    catalogue.start()
    log.info("Port %d", web.port)
    try:
        loop.run()
    except KafkaException as error:
        log.error("The group refuses this replica: %s", error)
        return 1
    finally:
        catalogue.stop()
        web.stop()
    return 0


def _source(settings: Settings) -> Source:
    if settings.models is not None:
        return Directory(settings.models)
    from mlops_runtime.drift.service.mlflow import Registry

    return Registry(settings)


if __name__ == "__main__":
    sys.exit(main())
