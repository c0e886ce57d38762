# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The way to MLflow: its client library for runs and logged models, the contracts' client for all else."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from _model_spec import InvalidModel, ModelSpec, from_tag
from mlflow import MlflowClient
from tenacity import before_sleep_log, retry, retry_if_exception, stop_after_delay, wait_exponential_jitter

from mlops_runtime.contracts import environment
from mlops_runtime.contracts.mlflow import SPEC_TAG, Mlflow, MlflowError, tags_of
from mlops_runtime.contracts.settings import read_tracking
from mlops_runtime.pipelines.errors import NoChampion, PipelineError

CHAMPION = "champion"
PATIENCE_SECONDS = 300.0
"""So long a server that is away is waited for; MLflow's own library waits about as long (its seven retries)."""
log = logging.getLogger(__name__)


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, MlflowError) and error.passing


_patiently = retry(
    retry=retry_if_exception(_is_passing),
    wait=wait_exponential_jitter(initial=1, max=15),
    stop=stop_after_delay(PATIENCE_SECONDS),
    before_sleep=before_sleep_log(log, logging.WARNING),
    reraise=True,
)


class PatientMlflow(Mlflow):
    """Asks again what may be otherwise another time, so that a server that is restarted ends no run.

    What the first answer may have done already does no harm twice: see `registration`.
    """

    _json = _patiently(Mlflow._json)
    get = _patiently(Mlflow.get)
    save = _patiently(Mlflow.save)
    put = _patiently(Mlflow.put)
    delete = _patiently(Mlflow.delete)


@dataclass(frozen=True)
class Access:
    """Both clients of one server, as one user."""

    mlflow: Mlflow
    client: MlflowClient

    def registered(self, model: str) -> Registered:
        """Raises NoChampion, MlflowError."""
        try:
            found = self.mlflow.api("registered-models/get", {"name": model}).get("registered_model", {})
        except MlflowError as error:
            if error.status == 404:
                raise NoChampion(f"there is no registered model {model}, or this user may not see it") from error
            raise
        aliases = {str(item["alias"]): str(item["version"]) for item in found.get("aliases", [])}
        return Registered(model, tags_of(found), aliases)

    def run(self, run_id: str) -> dict[str, Any]:
        """A run as MLflow's REST API has it."""
        return dict(self.mlflow.api("runs/get", {"run_id": run_id}).get("run", {}))

    def artefacts_of(self, run_id: str) -> str:
        """Where a run's artefacts lie, below the proxy."""
        uri = self.run(run_id).get("info", {}).get("artifact_uri", "")
        return self.mlflow.place(str(uri), f"run {run_id}")

    def files(self, directory: str, below: str = "") -> list[str]:
        """Files in a directory of artefacts and in those below it, relative to it; none where it is a file itself."""
        found = []
        for entry in self.mlflow.list(f"{directory}/{below}".rstrip("/")):
            path = f"{below}/{entry.path}".lstrip("/")
            found += self.files(directory, path) if entry.is_directory else [path]
        return sorted(found)

    def versions(self, model: str, **tags: str) -> list[dict[str, Any]]:
        """Usable versions with these tags (dots as `__`), the first one first."""
        wanted = [f"name = '{model}'", *(f"tags.`{key.replace('__', '.')}` = '{value}'" for key, value in tags.items())]
        query = {"filter": " and ".join(wanted), "max_results": "1000"}
        found = self.mlflow.api("model-versions/search", query).get("model_versions", [])
        usable = [item for item in found if item.get("status") != "FAILED_REGISTRATION"]
        return sorted(usable, key=lambda item: int(item["version"]))


@dataclass(frozen=True)
class Registered:
    """A registered model: its tags, and the versions that its aliases name."""

    name: str
    tags: Mapping[str, str]
    aliases: Mapping[str, str]

    @property
    def champion(self) -> str:
        """Raises NoChampion."""
        if CHAMPION not in self.aliases:
            raise NoChampion(
                f"no version of {self.name} has the alias {CHAMPION}: there is nothing to be judged against"
            )
        return self.aliases[CHAMPION]

    def declaration(self) -> ModelSpec:
        """Raises NoChampion."""
        try:
            return from_tag(self.tags.get(SPEC_TAG, ""))
        except InvalidModel as error:
            raise NoChampion(f"{self.name} has no declaration that can be read: {'; '.join(error.problems)}") from error


def connect(env: Mapping[str, str] | None = None) -> Access:
    """By MLFLOW_TRACKING_URI, _USERNAME, _PASSWORD or _PASSWORD_FILE. Raises PipelineError, SettingsError, MlflowError.

    MLflow's library reads user and password from the process's environment alone, so that is where they go.
    """
    tracking = read_tracking(os.environ if env is None else env)
    if not tracking.uri:
        raise PipelineError(f"{environment.TRACKING_URI} isn't set: where is MLflow?")
    given = {
        environment.TRACKING_URI: tracking.uri,
        environment.TRACKING_USERNAME: tracking.username,
        environment.TRACKING_PASSWORD: tracking.password,
    }
    os.environ.update({key: value for key, value in given.items() if value})
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    return Access(PatientMlflow(tracking), MlflowClient(tracking.uri, tracking.uri))
