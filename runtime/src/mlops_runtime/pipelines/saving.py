# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A scikit-learn model saved by MLflow, to the byte the same each time it is made of the same.

So that training again, or on another machine, makes no new version. What would differ are ids, dates, and the addresses
that skops names objects by.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import mlflow.sklearn
from mlflow.models import Model
from mlflow.models.signature import ModelSignature

MADE: Final = "2024-01-01T00:00:00Z"
"""The date that everything has."""
_RUNS_WITH: Final = ("mlflow-skinny", "scikit-learn", "skops")
_FILE: Final = "model.skops"
# "__id__": 140234866358480, and "file": "140234866358480.npy"
_ADDRESS: Final = re.compile(r'(?<="__id__": )\d+|(?<=": ")\d+(?=\.npy")')


def save(
    model: Any,
    path: Path,
    *,
    signature: ModelSignature,
    input_example: Any,
    made_of: bytes,
    trusted: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Into a new directory, by skops, which runs no code where it is loaded.

    `made_of`: the data that it was trained on; with the model's parameters, the model's id follows from it. `trusted`:
    types that skops loads only where they are named, such as trees. Raises MlflowException where one isn't.
    """
    digest = hashlib.sha256(made_of + repr(model).encode()).hexdigest()
    shutil.rmtree(path, ignore_errors=True)
    mlflow.sklearn.save_model(
        model,
        path,
        mlflow_model=Model(
            model_uuid=uuid.UUID(digest[:32]).hex, utc_time_created=MADE.replace("T", " ").removesuffix("Z")
        ),
        serialization_format="skops",
        skops_trusted_types=list(trusted) or None,
        signature=signature,
        input_example=input_example,
        pip_requirements=[f"{name}=={version(name)}" for name in _RUNS_WITH],
        metadata=dict(metadata or {}),
    )
    _number(path / _FILE)
    saved = Model.load(path)
    saved.model_size_bytes = sum(file.stat().st_size for file in path.iterdir() if file.name != "MLmodel")
    saved.save(str(path / "MLmodel"))


def _number(archive: Path) -> None:
    """Objects by their order in the place of their addresses in memory, and files without dates."""
    numbers: dict[str, str] = {}

    def number(address: re.Match[str]) -> str:
        return numbers.setdefault(address.group(), str(len(numbers) + 1))

    with zipfile.ZipFile(archive) as old:
        schema = _ADDRESS.sub(number, old.read("schema.json").decode())
        arrays = {
            numbers[name.removesuffix(".npy")] + ".npy": old.read(name)
            for name in old.namelist()
            if name != "schema.json"
        }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as new:
        for name, data in {"schema.json": schema.encode(), **dict(sorted(arrays.items()))}.items():
            new.writestr(zipfile.ZipInfo(name), data)
    archive.write_bytes(content.getvalue())
