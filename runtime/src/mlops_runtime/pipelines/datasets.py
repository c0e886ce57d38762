# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The datasets of a version, held to the hashes that the registry has; and files that a user brings."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from mlops_runtime.contracts.digest import TAG as SHA256_TAG
from mlops_runtime.contracts.digest import digest_of_files
from mlops_runtime.contracts.mlflow import MlflowError, safe, tags_of
from mlops_runtime.pipelines.access import Access
from mlops_runtime.pipelines.errors import MissingDataset, TamperedDataset, UnfitRows
from mlops_runtime.pipelines.rows import INDEX, from_file, identified, together

MANIFEST: Final = "datasets/manifest.json"
DATASETS_TAG: Final = "mlops.datasets"
"""Of a version that a pipeline made: JSON, the datasets' hashes by name."""
CONTEXT_TAG: Final = "mlflow.data.context"
_READERS: Final = {".csv": pd.read_csv, ".parquet": pd.read_parquet}


@dataclass(frozen=True)
class Dataset:
    """One that a version was made or tested with. `path` is among its run's artefacts, empty where it isn't kept."""

    name: str
    context: str
    sha256: str
    """Of the file; of a directory, that of the tree. By the registry's database, not by what lies beside the file."""
    path: str = ""


def datasets_of(access: Access, model: str, version: str) -> list[Dataset]:
    """Those that were logged with the version's run. Raises MissingDataset, MlflowError."""
    known = access.mlflow.version(model, version)
    run = _run_of(access, model, version)
    inputs = access.run(run).get("inputs", {}).get("dataset_inputs", [])
    if not inputs:
        raise MissingDataset(
            f"version {version} of {model} was registered without datasets: declare them (docs/models.md), or give the "
            "flow train and test itself"
        )
    paths = _paths(access, run)
    found = []
    for item in inputs:
        tags = {tag["key"]: tag.get("value", "") for tag in item.get("tags", [])}
        name, context = str(item["dataset"]["name"]), tags.get(CONTEXT_TAG, "train")
        found.append(Dataset(name, context, tags.get(SHA256_TAG, ""), paths.get((name, context), "")))
    # A run that was taken up again may have inputs of its first attempt: the version says which are its own.
    own = json.loads(tags_of(known).get(DATASETS_TAG, "{}"))
    return [one for one in found if not own or own.get(one.name) == one.sha256]


def frame_of(access: Access, model: str, version: str, context: str, directory: Path, name: str = "") -> pd.DataFrame:
    """All datasets of a context, or the one of that name, as one frame, verified, brought to `directory`.

    Raises MissingDataset, TamperedDataset, MlflowError.
    """
    known = datasets_of(access, model, version)
    wanted = [one for one in known if one.context == context and name in ("", one.name)]
    if not wanted:
        raise MissingDataset(
            f"version {version} of {model} has no dataset {name and name + ' '}of the context {context}"
        )
    root = access.artefacts_of(_run_of(access, model, version))
    frames = [_bring(access, root, one, directory, f"version {version} of {model}") for one in wanted]
    named = [frame for frame in frames if frame.index.name == INDEX]
    # Equal rows of two files are two observations, as those of one file are: they are counted over all files.
    plain = [frame for frame in frames if frame.index.name != INDEX]
    return together([*named, *([identified(pd.concat(plain))] if plain else [])])


def read_file(path: Path) -> pd.DataFrame:
    """A CSV or Parquet file. Raises MissingDataset, UnfitRows."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UnfitRows(f"{path.name} is neither a .csv nor a .parquet file")
    try:
        frame: pd.DataFrame = reader(path)
    except FileNotFoundError as error:
        raise MissingDataset(f"there is no file {path}") from error
    except (OSError, ValueError) as error:
        raise UnfitRows(f"{path.name} can't be read: {error}") from error
    return frame.set_index(INDEX) if INDEX in frame.columns else frame


def brought(paths: Iterable[str | Path], ids: str = "", time: str = "") -> pd.DataFrame:
    """Files with labelled rows that a user brings, the oldest first: in their order, or by the column `time`.

    `ids`: a column that says which observation a row is; without one, rows that equal a holdout's may be left out.
    Both columns are taken away. Raises MissingDataset, UnfitRows.
    """
    frames = [from_file(read_file(Path(path)), ids) for path in paths]
    if not frames:
        raise MissingDataset("no file was named")
    joined = together(frames)
    if not time:
        return joined
    if time not in joined.columns:
        raise UnfitRows(f"there is no column {time}, which the rows were to be sorted by")
    return joined.sort_values(time, kind="stable").drop(columns=time)


def _run_of(access: Access, model: str, version: str) -> str:
    run = str(access.mlflow.version(model, version).get("run_id") or "")
    if not run:
        raise MissingDataset(f"version {version} of {model} has no run, and so no datasets")
    return run


def _paths(access: Access, run: str) -> dict[tuple[str, str], str]:
    try:
        manifest = json.loads(access.mlflow.get(f"{access.artefacts_of(run)}/{MANIFEST}"))
        entries: list[dict[str, Any]] = manifest["datasets"]
        return {(str(one["name"]), str(one["context"])): safe(one["path"]) for one in entries if one.get("path")}
    except MlflowError as error:
        if error.status == 404:
            return {}
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise TamperedDataset(f"{MANIFEST} of run {run} can't be read: {error!r}") from error


def _bring(access: Access, root: str, dataset: Dataset, directory: Path, of: str) -> pd.DataFrame:
    what = f"the dataset {dataset.name} ({dataset.context}) of {of}"
    if not dataset.path:
        raise MissingDataset(f"{what} isn't kept in MLflow: give the flow that data itself")
    place, target = f"{root}/{dataset.path}", directory / dataset.path
    inside = access.files(place)
    try:
        if inside:
            hashes = {name: access.mlflow.save(f"{place}/{name}", target / name) for name in inside}
            found, files = digest_of_files(hashes), [target / name for name in sorted(hashes)]
        else:
            found, files = access.mlflow.save(place, target), [target]
    except MlflowError as error:
        if error.status == 404:
            raise MissingDataset(f"{what} is gone: MLflow has no {dataset.path}") from error
        raise
    if found != dataset.sha256:
        raise TamperedDataset(f"{what} has the hash {found}, and was registered with {dataset.sha256 or 'none'}")
    frames = [read_file(file) for file in files]
    return frames[0] if len(frames) == 1 else pd.concat(frames)
