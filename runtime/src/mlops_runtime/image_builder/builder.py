# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Looks for model versions that want an image, and makes it. What it did and why not stands on the version itself."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from _model_spec import lock_digest

from mlops_runtime.contracts.mlflow import Mlflow, MlflowError, tags_of
from mlops_runtime.contracts.tags import IMAGE, IMAGE_FROM, IMAGE_PROBLEM, LOCK_FILE, REQUIREMENTS
from mlops_runtime.image_builder import images, installing, layers
from mlops_runtime.image_builder.errors import BuildError
from mlops_runtime.image_builder.repositories import Repositories
from mlops_runtime.image_builder.settings import Settings

_LARGEST_LOCK: Final = 5_000_000
_TOLD: Final = 2000
log = logging.getLogger(__name__)


class Builder:
    """For one thread; `step` is called again and again."""

    def __init__(self, settings: Settings, mlflow: Mlflow, repositories: Repositories) -> None:
        self._settings = settings
        self._mlflow = mlflow
        self._repositories = repositories
        self._failed: dict[tuple[str, str], float] = {}
        self._own: dict[str, Any] = {}

    def alive(self) -> None:
        """Tells the health check that work goes on."""
        self._settings.heartbeat.touch()

    def step(self) -> None:
        """Makes what is wanted. Raises MlflowError."""
        wanted = self._wanted()
        self.alive()
        now = time.monotonic()
        keys = {(str(version["name"]), str(version["version"])) for version in wanted}
        again = self._settings.again_seconds
        self._failed = {key: at for key, at in self._failed.items() if key in keys and now < at + again}
        for version in wanted:
            key = (str(version["name"]), str(version["version"]))
            if key not in self._failed:
                self._try(*key, version)

    def _wanted(self) -> list[dict[str, Any]]:
        """Versions that name an image to be made from and have none themselves, the newest one first."""
        query = {
            "filter": f"tags.`{IMAGE_FROM}` != ''",
            "max_results": "1000",
            "order_by": "creation_timestamp DESC",
        }
        found = self._mlflow.api("model-versions/search", query).get("model_versions", [])
        return [version for version in found if not tags_of(version).get(IMAGE)]

    def _try(self, name: str, number: str, version: Mapping[str, Any]) -> None:
        began = time.monotonic()
        log.info("%s version %s wants an image", name, number)
        try:
            reference = self._make(name, number, version)
        except BuildError as error:
            self._failed[name, number] = time.monotonic()
            log.error("%s version %s: %s", name, number, error)
            if tags_of(version).get(IMAGE_PROBLEM) != str(error)[:_TOLD]:
                self._tag(name, number, IMAGE_PROBLEM, str(error)[:_TOLD])
            return
        self._tag(name, number, IMAGE, reference)
        if tags_of(version).get(IMAGE_PROBLEM):
            self._tag(name, number, IMAGE_PROBLEM, "")
        log.info("%s version %s runs in %s, made in %.0f s", name, number, reference, time.monotonic() - began)

    def _make(self, name: str, number: str, version: Mapping[str, Any]) -> str:
        """The image's reference by digest. Raises BuildError, MlflowError."""
        parent = tags_of(version)[IMAGE_FROM]
        lock = self._lock(name, number, version)
        requirements = lock_digest(lock)
        if requirements != tags_of(version).get(REQUIREMENTS):
            raise BuildError(f"its lock has the hash {requirements}, and not that of the tag {REQUIREMENTS}")
        tagged = images.tag(parent, requirements)
        if known := self._repositories.digest(tagged):
            return images.by_digest(tagged, known)
        installing.check(lock)
        manifest = self._repositories.manifest(parent)
        if manifest is None:
            raise BuildError(f"the image registry no longer has {parent}, which it was to be made from")
        config = self._repositories.config(parent, manifest)
        images.check_base(parent, config, self._base())
        self._settings.work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._settings.work, prefix="build-") as folder:
            packed = self._pack(lock, Path(folder))
            made = images.derive(manifest, config, *packed, requirements)
            digest = self._repositories.push(tagged, list(packed), made[1], made[0])
        return images.by_digest(tagged, digest)

    def _pack(self, lock: str, folder: Path) -> tuple[layers.Layer, layers.Layer]:
        settings = self._settings
        try:
            venv = installing.install(lock, folder, settings.environment, settings.build_seconds, self.alive)
            environment = layers.pack_tree(venv, "opt/venv", folder / "environment.tar.gz", self.alive)
            text = lock if lock.endswith("\n") else f"{lock}\n"
            return environment, layers.pack_file(text.encode(), "microservice/requirements.txt", folder / "lock.tar.gz")
        except OSError as error:
            raise BuildError(f"the image builder's disk: {error.strerror}") from error

    def _base(self) -> dict[str, Any]:
        """The configuration of the builder's own image."""
        if not self._own:
            manifest = self._repositories.manifest(self._settings.base)
            if manifest is None:
                raise BuildError(f"the image registry doesn't have the image builder's own image {self._settings.base}")
            self._own = self._repositories.config(self._settings.base, manifest)
        return self._own

    def _lock(self, name: str, number: str, version: Mapping[str, Any]) -> str:
        """The lock among the version's artefacts. Raises BuildError, MlflowError."""
        run_id = str(version.get("run_id", ""))
        if not run_id:
            raise BuildError("no run has made it, and so it has no lock")
        try:
            uri = self._mlflow.api("runs/get", {"run_id": run_id})["run"]["info"]["artifact_uri"]
            place = self._mlflow.place(str(uri), f"the run of {name} version {number}")
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, "lock")
                self._mlflow.save(f"{place}/{LOCK_FILE}", file, _LARGEST_LOCK)
                return file.read_text()
        except MlflowError as error:
            if error.passing:
                raise
            raise BuildError(f"its lock can't be read: {error}") from error
        except (KeyError, UnicodeDecodeError) as error:
            raise BuildError(f"its lock can't be read: {type(error).__name__}") from error

    def _tag(self, name: str, number: str, key: str, value: str) -> None:
        body = {"name": name, "version": number, "key": key, "value": value}
        self._mlflow.api("model-versions/set-tag", body=body)


def clean(work: Path) -> None:
    """Removes what a builder that was killed has left."""
    for left in work.glob("build-*"):
        shutil.rmtree(left, ignore_errors=True)


def forever(step: Callable[[], None], seconds: float) -> None:
    """Calls `step` again and again; what is away is asked again."""
    told = ""
    while True:
        problem = ""
        try:
            step()
        except MlflowError as error:
            problem = str(error)
        if problem and problem != told:
            log.warning("%s", problem)
        told = problem
        # MLflow tells nobody of a new version: it is asked.
        time.sleep(seconds)
