# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A flow's code as a versioned archive in MLflow's artefact store: packed beside the code, pulled where it runs.

    mlops-pipelines pack examples/phishing --model phishing --lock requirements.txt --image flows@sha256:...

`<model>/<version>.tar.gz` has the files, `<model>/<version>.json` their hash, the lock's and the image. The version is
the hash of those three: the same code, lock and image are the same version, wherever and whenever they are packed.
A deployment pulls it before its flow is imported:

    pull_steps: [{mlops_runtime.pipelines.code.pull: {model: phishing, version: 5b0c...}}]
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

from _model_spec.flow_code import EXPERIMENT, FORMAT, MAX_BYTES, MAX_FILES, Archive, BadArchive, place_of, version_of

from mlops_runtime.contracts import environment
from mlops_runtime.contracts.digest import digest_of_files, file_digest
from mlops_runtime.contracts.mlflow import Mlflow, MlflowError, safe
from mlops_runtime.contracts.settings import read_tracking

_MANIFEST_BYTES: Final = 2**20
_HEADER_BYTES: Final = 4096
"""Of a file in an archive: its header, a long name, and what fills its last block."""


def store(mlflow: Mlflow, model: str, archive: Archive) -> str:
    """Write it; returns its version. The manifest comes last. Raises MlflowError."""
    root = _root(mlflow, model)
    mlflow.put(f"{root}/{archive.version}.tar.gz", archive.body)
    mlflow.put(f"{root}/{archive.version}.json", archive.manifest())
    return str(archive.version)


def pull(model: str, version: str, directory: str = "") -> dict[str, Any]:
    """Prefect's pull step: the code of that version, verified, and `directory`, where Prefect is to go.

    Sets MLOPS_PIPELINE for the flow. `directory`: where it is unpacked; default MLOPS_PIPELINE_DIR, or a new one.
    Access is by MLFLOW_TRACKING_URI, _USERNAME, _PASSWORD or _PASSWORD_FILE.
    Raises BadArchive, MlflowError, SettingsError.
    """
    # Whoever only packs code doesn't have MLflow's library.
    from mlops_runtime.pipelines.access import PatientMlflow

    mlflow = PatientMlflow(read_tracking(os.environ))
    chosen = directory or os.environ.get(environment.PIPELINE_DIRECTORY, "")
    parent = Path(chosen) if chosen else Path(tempfile.mkdtemp(prefix="pipeline-"))
    target = fetch(mlflow, model, version, parent)
    os.environ[environment.PIPELINE] = version
    return {"directory": str(target)}


def fetch(mlflow: Mlflow, model: str, version: str, parent: Path) -> Path:
    """Bring and unpack a version into `parent`; returns its directory. Raises BadArchive, MlflowError."""
    root = _root(mlflow, model)
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pipeline-", dir=parent) as folder:
        manifest, body, code = Path(folder, "manifest"), Path(folder, "body"), Path(folder, "code")
        mlflow.save(safe(f"{root}/{version}.json"), manifest, _MANIFEST_BYTES)
        wanted = _code_of(manifest.read_bytes(), version)
        try:
            mlflow.save(safe(f"{root}/{version}.tar.gz"), body, 2 * MAX_BYTES)
        except MlflowError as error:
            if error.status or error.passing:
                raise
            raise BadArchive(f"version {version} of {model}: {error}") from error
        found = digest_of_files(unpack(body, code))
        if found != wanted:
            raise BadArchive(f"version {version} of {model}: the code has the hash {found}, not {wanted}")
        target = parent / f"{model}-{version[:16]}"
        if target.exists():
            shutil.rmtree(target)
        code.rename(target)
    return target


def unpack(archive: Path, directory: Path) -> dict[str, str]:
    """Unpack files into a new directory; returns their hashes by path.

    Raises BadArchive for what isn't a file, a path that leads elsewhere, a name that comes twice, or too much of it.
    """
    hashes: dict[str, str] = {}
    size = 0
    try:
        with gzip.open(archive) as packed, tarfile.open(fileobj=_Bounded(packed), mode="r|") as tar:
            for member in tar:
                name = _sound(member)
                size += member.size
                if size > MAX_BYTES or len(hashes) >= MAX_FILES:
                    raise BadArchive(f"it unpacks to more than {MAX_FILES} files or {MAX_BYTES} bytes")
                target = directory / name
                if name in hashes or target.exists():
                    raise BadArchive(f"{name} comes twice")
                target.parent.mkdir(parents=True, exist_ok=True)
                stream = tar.extractfile(member)
                assert stream is not None
                target.write_bytes(stream.read())
                hashes[name] = file_digest(target)
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise BadArchive(f"it can't be unpacked: {error}") from error
    return hashes


class _Bounded(io.RawIOBase):
    """A stream that ends in a refusal: headers, too, can be of any length."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream
        self._left = MAX_BYTES + MAX_FILES * _HEADER_BYTES

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = bytes(self._stream.read(size))
        self._left -= len(data)
        if self._left < 0:
            raise BadArchive(f"it unpacks to more than {MAX_FILES} files or {MAX_BYTES} bytes")
        return data


def _sound(member: tarfile.TarInfo) -> str:
    if not member.isreg():
        raise BadArchive(f"{member.name!r} is no file")
    try:
        found = safe(member.name)
    except MlflowError:
        raise BadArchive(f"{member.name!r} leads out of the archive") from None
    if found != member.name or "\0" in found:
        raise BadArchive(f"{member.name!r} leads out of the archive")
    return found


def _code_of(manifest: bytes, version: str) -> str:
    try:
        document = json.loads(manifest)
        code, lock, image = (str(document[key]) for key in ("code", "lock", "image"))
        is_known = document["format"] == FORMAT
    except (ValueError, KeyError, TypeError) as error:
        raise BadArchive(f"the manifest of version {version} can't be read: {error!r}") from error
    if not is_known:
        raise BadArchive(f"version {version} has format {document['format']}; this release reads {FORMAT}")
    if version_of(code, lock, image) != version:
        raise BadArchive(f"the manifest of version {version} is another version's: it was changed")
    return code


def _root(mlflow: Mlflow, model: str) -> str:
    return safe(f"{mlflow.experiment(EXPERIMENT)}/{place_of(model)}")
