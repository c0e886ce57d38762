# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the image builder: `python -m mlops_runtime.image_builder`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from mlops_runtime.contracts.mlflow import Mlflow, MlflowError
from mlops_runtime.contracts.settings import SettingsError
from mlops_runtime.image_builder.builder import Builder, clean, forever
from mlops_runtime.image_builder.repositories import Repositories
from mlops_runtime.image_builder.settings import read_settings, write_authorities

log = logging.getLogger("mlops_runtime.image_builder")


def main() -> int:
    parser = argparse.ArgumentParser(prog="mlops_runtime.image_builder", description=__doc__)
    parser.add_argument("--settings", type=Path, default=Path("/etc/image-builder/settings.json"), metavar="FILE")
    path = parser.parse_args().settings
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = read_settings(path)
        authorities = write_authorities(settings, Path(tempfile.mkdtemp(), "authorities.pem"))
        # MLflow's client, requests and uv all read it.
        os.environ["SSL_CERT_FILE"] = str(authorities)
        settings = replace(settings, environment={**settings.environment, "SSL_CERT_FILE": str(authorities)})
        builder = Builder(settings, Mlflow(settings.tracking), Repositories(settings.registry, authorities))
    except (SettingsError, MlflowError) as error:
        log.error("%s", error)
        return 2
    clean(settings.work)
    forever(builder.step, settings.poll_seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
