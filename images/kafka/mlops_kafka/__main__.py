# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""mlops-kafka serve | topics"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from mlops_kafka.settings import Settings, SettingsError


def die(message: object) -> NoReturn:
    print(f"mlops-kafka: {message}", file=sys.stderr, flush=True)
    sys.exit(1)


def main(arguments: list[str]) -> None:
    try:
        match arguments:
            case ["serve"]:
                from mlops_kafka.server import serve

                serve(Settings.read(os.environ))
            case ["topics"]:
                from mlops_kafka.job import run

                sys.exit(run(os.environ))
            case _:
                die("usage: mlops-kafka serve | topics")
    except SettingsError as error:
        die(error)


if __name__ == "__main__":
    main(sys.argv[1:])
