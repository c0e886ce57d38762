# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A new version in MLflow, laid out as site.yml lays one out; one for each episode, however often it is tried.

The version is created last and with all its tags, when what it names is stored and read back. What an attempt that
broke off has left (logged models that no version names) is taken away first.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd
from _model_spec import lock_digest, lock_problems
from mlflow.entities import LoggedModelOutput, LoggedModelStatus

from mlops_runtime.contracts.digest import TAG as DIGEST_TAG
from mlops_runtime.contracts.digest import digest_of_files, file_digest, is_ignored
from mlops_runtime.contracts.mlflow import tags_of
from mlops_runtime.contracts.tags import ENVIRONMENT, EPISODE, IMAGE, IMAGE_FROM, LOCK_FILE, REQUIREMENTS
from mlops_runtime.pipelines.access import Access
from mlops_runtime.pipelines.datasets import CONTEXT_TAG, DATASETS_TAG, MANIFEST
from mlops_runtime.pipelines.errors import PipelineError
from mlops_runtime.pipelines.gate import FILE, Verdict
from mlops_runtime.pipelines.gate import REASONS as GATE_REASONS
from mlops_runtime.pipelines.gate import TAG as GATE_TAG
from mlops_runtime.pipelines.holdout import Data

PARENT: Final = "mlops.parent"
PIPELINE: Final = "mlops.pipeline"
HOLDOUT: Final = "mlops.holdout"
SINCE, UNTIL = "mlops.stream.since", "mlops.stream.until"
DRIFT_SHA256: Final = "mlops.drift.sha256"
INHERITED: Final = (ENVIRONMENT, IMAGE, IMAGE_FROM, REQUIREMENTS)
"""What it runs in: the champion's, where it was trained for the same lock."""
LOGGED_MODEL: Final = "model"
PARTS: Final = {"train": "train", "old": "test", "new": "test"}
"""A version's datasets: name -> context. The names are those of `Data`, too."""
_AT_ONCE: Final = 4
_TAG_LENGTH: Final = 2000
_DIGITS: Final = 32
"""MLflow's column for a dataset's digest has 36 characters; the whole SHA-256 is a tag beside it."""


@dataclass(frozen=True)
class Candidate:
    """What is to become a version. `model` and `drift` are directories; `drift` is None where nothing watches it."""

    name: str
    episode: str
    model: Path
    data: Data
    verdict: Verdict
    drift: Path | None = None
    drift_sha256: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of the version, beyond those that follow from the rest."""
    lock: str = ""
    """What it runs with, where that is another lock than the champion's: its image is yet to be made."""


def find(access: Access, name: str, episode: str) -> str:
    """The version that was made for the episode; empty where there is none."""
    found = access.versions(name, mlops__episode=episode)
    return str(found[0]["version"]) if found else ""


def register(access: Access, run_id: str, candidate: Candidate, directory: Path) -> str:
    """The version, made by this run or found. `directory`: files on their way. Raises PipelineError, MlflowError."""
    if found := find(access, candidate.name, candidate.episode):
        return found
    root = access.artefacts_of(run_id)
    files = _files(candidate.model)
    if "MLmodel" not in files:
        raise PipelineError(f"{candidate.model} has no file MLmodel: save the model there with MLflow")
    digest = digest_of_files(files)
    _clear(access, run_id)
    model_id = _store_model(access, run_id, candidate, files, digest)
    entries = _store_datasets(access, root, candidate.data, directory)
    if candidate.drift is not None:
        _store(access, candidate.drift, f"{root}/drift", _files(candidate.drift), last="manifest.json")
    access.mlflow.put(f"{root}/{FILE}", candidate.verdict.to_json().encode())
    if candidate.lock:
        access.mlflow.put(f"{root}/{LOCK_FILE}", candidate.lock.encode())
    _log_inputs(access, run_id, entries)
    access.client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    tags = {
        **candidate.tags,
        DIGEST_TAG: digest,
        EPISODE: candidate.episode,
        GATE_TAG: candidate.verdict.outcome,
        GATE_REASONS: "; ".join(candidate.verdict.reasons)[:_TAG_LENGTH],
        HOLDOUT: candidate.data.sha256,
        DATASETS_TAG: json.dumps({one["name"]: one["sha256"] for one in entries}, sort_keys=True),
        **({DRIFT_SHA256: candidate.drift_sha256} if candidate.drift is not None else {}),
    }
    return _create(access, run_id, model_id, candidate, tags)


def environment(access: Access, name: str, version: str, lock: str) -> tuple[dict[str, str], str]:
    """Tags that say what the successor of a champion runs in, and the lock that its image is to be made of.

    The champion's own, and no lock, where that is the same or none is given. Raises PipelineError, MlflowError.
    """
    tags = tags_of(access.mlflow.version(name, version))
    theirs = {key: tags[key] for key in INHERITED if tags.get(key)}
    if lock and (problems := lock_problems(lock)):
        raise PipelineError(f"the lock {problems[0]}")
    digest = lock_digest(lock) if lock else ""
    if digest in ("", tags.get(REQUIREMENTS)):
        # An image that is yet to be made for the champion is made once for both.
        return theirs, _lock_of(access, tags, name, version) if IMAGE_FROM in theirs and IMAGE not in theirs else ""
    parent = tags.get(IMAGE) or tags.get(IMAGE_FROM, "")
    if not parent:
        raise PipelineError(f"version {version} of {name} doesn't say which image it runs in: none can be made from it")
    # All that an image's name stands for but the lock is the champion's.
    made = hashlib.sha256(f"{tags.get(ENVIRONMENT, '')} {digest}".encode()).hexdigest()[:12]
    return {ENVIRONMENT: f"model-{made}", REQUIREMENTS: digest, IMAGE_FROM: parent}, lock


def _lock_of(access: Access, tags: Mapping[str, str], name: str, version: str) -> str:
    run_id = str(access.mlflow.version(name, version).get("run_id", ""))
    lock = access.mlflow.get(f"{access.artefacts_of(run_id)}/{LOCK_FILE}").decode()
    if lock_digest(lock) != tags.get(REQUIREMENTS):
        raise PipelineError(f"the lock of {name} version {version} isn't the one that it was registered with")
    return lock


def _files(directory: Path) -> dict[str, str]:
    """Relative path to SHA-256 of what is part of a tree."""
    paths = {path.relative_to(directory).as_posix(): path for path in sorted(directory.rglob("*")) if path.is_file()}
    return {name: file_digest(path) for name, path in paths.items() if not is_ignored(name)}


def _clear(access: Access, run_id: str) -> None:
    """Logged models of attempts that broke off: no version of this episode is there, so none names them."""
    experiment = str(access.run(run_id)["info"]["experiment_id"])
    for model in access.client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'"):
        access.client.delete_logged_model(model.model_id)


def _store_model(access: Access, run_id: str, candidate: Candidate, files: Mapping[str, str], digest: str) -> str:
    experiment = str(access.run(run_id)["info"]["experiment_id"])
    parameters = {key: str(value) for key, value in candidate.parameters.items()}
    model = access.client.create_logged_model(
        experiment, LOGGED_MODEL, source_run_id=run_id, tags={DIGEST_TAG: digest}, params=parameters
    )
    access.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    place = access.mlflow.place(str(model.artifact_location), f"logged model {model.model_id}")
    _store(access, candidate.model, place, files)
    return str(model.model_id)


def _store(access: Access, source: Path, place: str, files: Mapping[str, str], last: str = "") -> None:
    """Write the files and read them back; `last` names the one that tells of the others."""

    def one(name: str) -> None:
        access.mlflow.put(f"{place}/{name}", (source / name).read_bytes())
        _check(access, f"{place}/{name}", files[name])

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(one, (name for name in files if name != last)))
    if last:
        one(last)


def _check(access: Access, place: str, sha256: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = access.mlflow.save(place, Path(folder, "read"))
    if found != sha256:
        raise PipelineError(f"MLflow has {place} with the hash {found}, and was given {sha256}: its store alters files")


def _store_datasets(access: Access, root: str, data: Data, directory: Path) -> list[dict[str, Any]]:
    """Lines of the manifest, as site.yml's registration writes them."""
    entries = []
    for name, context in PARTS.items():
        frame: pd.DataFrame = getattr(data, name)
        path = f"datasets/{context}/{name}.parquet"
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(file)
        sha256 = file_digest(file)
        _store(access, directory, root, {path: sha256})
        entries.append(
            {
                "name": name,
                "context": context,
                "sha256": sha256,
                "path": path,
                "size": file.stat().st_size,
                "schema": None,
                "profile": {"num_rows": len(frame)},
            }
        )
    document = json.dumps({"format": 1, "datasets": entries}, indent=2, sort_keys=True) + "\n"
    access.mlflow.put(f"{root}/{MANIFEST}", document.encode())
    return entries


def _log_inputs(access: Access, run_id: str, entries: list[dict[str, Any]]) -> None:
    """As logged inputs; an input that the run has already isn't added again."""
    artefacts = str(access.run(run_id)["info"]["artifact_uri"]).rstrip("/")
    inputs = []
    for one in entries:
        tags = {CONTEXT_TAG: one["context"], DIGEST_TAG: one["sha256"]}
        dataset = {
            "name": one["name"],
            "digest": one["sha256"][:_DIGITS],
            "source_type": "local",
            "source": json.dumps({"uri": f"{artefacts}/{one['path']}"}),
            "profile": json.dumps(one["profile"]),
        }
        inputs.append({"tags": [{"key": key, "value": value} for key, value in tags.items()], "dataset": dataset})
    access.mlflow.api("runs/log-inputs", body={"run_id": run_id, "datasets": inputs})


def _create(access: Access, run_id: str, model_id: str, candidate: Candidate, tags: Mapping[str, str]) -> str:
    body = {
        "name": candidate.name,
        "source": f"models:/{model_id}",
        "run_id": run_id,
        "model_id": model_id,
        "tags": [{"key": key, "value": value} for key, value in tags.items() if value],
    }
    made = access.mlflow.api("model-versions/create", body=body).get("model_version", {})
    version = str(made.get("version", ""))
    deadline = time.monotonic() + 60
    while made.get("status", "READY") == "PENDING_REGISTRATION":
        if time.monotonic() > deadline:
            raise PipelineError(f"version {version} of {candidate.name} wasn't ready within 60 s")
        time.sleep(0.5)  # MLflow tells nobody when it is ready: it is asked again until then
        made = access.mlflow.version(candidate.name, version)
    first = find(access, candidate.name, candidate.episode)
    if first and first != version:  # another attempt of the same episode was as quick
        access.client.delete_model_version(candidate.name, version)
        return first
    return version
