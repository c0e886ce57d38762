# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The model of this container, from the node's cache or from MLflow. Standard library only, for Seldon's wrapper too:

    python -m mlops_runtime.serving.fetch command ...

fetches what the environment names and becomes the command, with the model's place in MLOPS_MODEL_DIR.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from mlops_runtime.contracts import environment
from mlops_runtime.contracts.digest import TAG
from mlops_runtime.contracts.mlflow import Mlflow, MlflowError
from mlops_runtime.contracts.settings import SettingsError, read_tracking
from mlops_runtime.serving.cache import Cache, CacheError
from mlops_runtime.serving.registry import download, registered_digest

log = logging.getLogger(__name__)

CACHE = "/var/cache/mlops"

# Kept for the process's life: it holds the locks that keep its entries from being evicted.
_caches: list[Cache] = []


class FetchError(Exception):
    """The model can't be had; the message says what to look at."""


def is_wanted(env: Mapping[str, str] = os.environ) -> bool:
    return bool(env.get(environment.MODEL))


def fetch_model(env: Mapping[str, str], report: Callable[[str], None] = lambda _reason: None) -> Path:
    """The directory of the model that the environment names, fetched and checked.

    Tries again while MLflow is away, up to MLOPS_FETCH_SECONDS (300). Raises FetchError.
    """
    name, version = env.get(environment.MODEL, ""), env.get(environment.MODEL_VERSION, "")
    if not version:
        raise FetchError(f"{environment.MODEL_VERSION} is not set: which version of model {name}?")
    cache = Cache(Path(env.get(environment.CACHE_DIRECTORY) or CACHE), int(env.get(environment.CACHE_KEEP) or 5))
    _caches.append(cache)
    deadline = time.monotonic() + float(env.get(environment.FETCH_SECONDS) or 300)
    pause = 0.5
    while True:
        try:
            digest = env.get(environment.MODEL_SHA256) or _registered_digest(env, name, version)
            started = time.monotonic()
            path = cache.get(digest, lambda target: _download(env, name, version, target, report))
            log.info("Model %s version %s is in %s (%.1f s)", name, version, path, time.monotonic() - started)
            return path
        except MlflowError as error:
            if not error.passing or time.monotonic() + pause > deadline:
                raise FetchError(f"model {name} version {version}: {error}") from error
            report(f"the model can't be fetched yet: {error}")
            log.warning("%s; trying again", error)
            time.sleep(pause)
            pause = min(pause * 2, 10.0)
        except (CacheError, SettingsError, OSError) as error:
            raise FetchError(f"model {name} version {version}: {error}") from error


def _registered_digest(env: Mapping[str, str], name: str, version: str) -> str:
    digest = registered_digest(_mlflow(env), name, version)
    if digest is None:
        raise FetchError(
            f"model {name} version {version} can't be checked: it has no tag {TAG}, "
            f"and {environment.MODEL_SHA256} is not set"
        )
    return digest


def _download(env: Mapping[str, str], name: str, version: str, target: Path, report: Callable[[str], None]) -> None:
    report("the model is being fetched")
    download(_mlflow(env), name, version, target)


def _mlflow(env: Mapping[str, str]) -> Mlflow:
    tracking = read_tracking(env)
    if not tracking.uri:
        raise FetchError(f"{environment.TRACKING_URI} is not set, and the model is not in the cache")
    return Mlflow(tracking)


def main(command: list[str]) -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if not command:
        log.error("usage: python -m mlops_runtime.serving.fetch command ...")
        return 2
    if is_wanted() and not os.environ.get(environment.MODEL_DIRECTORY):
        try:
            os.environ[environment.MODEL_DIRECTORY] = str(fetch_model(os.environ))
        except FetchError as error:
            log.error("%s", error)
            return 1
    os.execvp(command[0], command)  # noqa: S606 it becomes the command it was given
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
