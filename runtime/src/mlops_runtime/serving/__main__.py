# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m mlops_runtime.serving [class] [options]`: what `seldon-core-microservice` is to Seldon's wrapper."""

from __future__ import annotations

import logging
import os
import sys

# Each worker has one core: threads of numerical libraries would only fight for it. Before numpy is imported.
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def main(arguments: list[str] | None = None) -> int:
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
    )
    from mlops_runtime.serving.settings import SettingsError, read_settings

    try:
        settings = read_settings(sys.argv[1:] if arguments is None else arguments)
    except SettingsError as error:
        logging.getLogger(__name__).error("%s", error)
        return 2
    logging.getLogger().setLevel(settings.log_level)
    for name in ("uvicorn.error", "uvicorn.asgi"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    from mlops_runtime.serving.seldon import install_shim

    sys.path.append(str(os.getcwd()))  # noqa: PTH109 as Seldon's wrapper: the class lies in the working directory
    install_shim()
    from mlops_runtime.serving.supervisor import Supervisor

    return Supervisor(settings).run()


if __name__ == "__main__":
    sys.exit(main())
