# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the archive: `python -m mlops_runtime.drift.archive`."""

from __future__ import annotations

import logging
import os
import signal
import sys

from mlops_runtime.contracts.broker import BrokerSettingsError
from mlops_runtime.drift.archive.loop import Loop
from mlops_runtime.drift.archive.proxy import ProxyError
from mlops_runtime.drift.archive.settings import SettingsError, read_settings
from mlops_runtime.drift.archive.web import Web

log = logging.getLogger("mlops_runtime.drift.archive")


def main() -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = read_settings(os.environ)
        loop = Loop(settings)
    except (SettingsError, BrokerSettingsError, ProxyError) as error:
        log.error("%s", error)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    web = Web(loop, settings.port)
    web.start()
    log.info("Port %d", web.port)
    try:
        loop.run()
    finally:
        web.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
