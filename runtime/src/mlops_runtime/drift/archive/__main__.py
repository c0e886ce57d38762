# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the archive: `python -m mlops_runtime.drift.archive`."""

from __future__ import annotations

import logging
import os
import signal
import sys

from mlops_runtime.contracts.mlflow import MlflowError
from mlops_runtime.contracts.settings import SettingsError
from mlops_runtime.drift.archive.loop import Loop
from mlops_runtime.drift.archive.metrics import Collector, health
from mlops_runtime.drift.archive.settings import read_settings
from mlops_runtime.drift.web import Web, as_json

log = logging.getLogger("mlops_runtime.drift.archive")


def main() -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = read_settings(os.environ)
        loop = Loop(settings)
    except (SettingsError, MlflowError) as error:
        log.error("%s", error)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    pages = {f"/health/{what}": lambda what=what: as_json(*health(loop, what)) for what in ("live", "ready")}
    web = Web(Collector(loop), pages, settings.port)
    web.start()
    log.info("Port %d", web.port)
    try:
        loop.run()
    finally:
        web.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
