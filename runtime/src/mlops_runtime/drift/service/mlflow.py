# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Models from MLflow: those whose declaration has `drift`, in the versions that aliases name, by the artefacts of their
runs. Its REST API and artifact proxy, with the standard library alone."""

from __future__ import annotations

import base64
import http.client
import json
import logging
import shutil
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from mlops_runtime.drift.artefact import MAX_ARRAY_BYTES, Artefact
from mlops_runtime.drift.service.catalogue import SourceError, Versions, usable
from mlops_runtime.drift.service.settings import Settings
from mlops_runtime.drift.stream import Standing

log = logging.getLogger(__name__)

SPEC_TAG: Final = "mlops.spec"
SHA256_TAG: Final = "mlops.drift.sha256"
"""Of a version: its manifest's hash, where the registration noted it."""
ALIASES: Final = ("champion", "challenger", "shadow")
FOLDER: Final = "drift"
_API: Final = "/api/2.0/mlflow"
_PROXY: Final = "/api/2.0/mlflow-artifacts/artifacts"
_SECONDS: Final = 20.0
_REFUSED_SECONDS: Final = 60.0
"""A version without a usable artefact is looked at again after so long."""


class NotThere(SourceError):
    """MLflow doesn't have what was asked for."""


@dataclass(frozen=True)
class _Found:
    artefact: Artefact | Standing
    problem: str = ""
    again_at: float = float("inf")


class Registry:
    """One tracking server. Artefacts are kept, verified, below the state directory while the process lives."""

    def __init__(self, settings: Settings) -> None:
        parts = urlsplit(settings.tracking_uri)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SourceError(f"MLFLOW_TRACKING_URI: {settings.tracking_uri!r} is no http or https address")
        self._uri = settings.tracking_uri.rstrip("/")
        self._shown = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
        self._authorization = ""
        if settings.tracking_username:
            pair = f"{settings.tracking_username}:{settings.tracking_password}"
            self._authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        self._context = ssl.create_default_context() if parts.scheme == "https" else None
        self._directory = settings.state_directory
        self._versions: dict[tuple[str, str], _Found] = {}

    def read(self) -> Mapping[str, Versions]:
        models = {}
        for model in self._models():
            named = {
                item["alias"]: str(item["version"]) for item in model.get("aliases", []) if item["alias"] in ALIASES
            }
            name = str(model["name"])
            found = {version: self._version(name, version) for version in sorted(set(named.values()))}
            default = next((named[alias] for alias in ALIASES if alias in named), "")
            models[name] = Versions(
                {version: item.artefact for version, item in found.items()},
                default,
                {version: item.problem for version, item in found.items() if item.problem},
            )
        watched = {(name, version) for name, known in models.items() for version in known.versions}
        self._versions = {key: item for key, item in self._versions.items() if key in watched}
        return models

    def _models(self) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            query = {"max_results": "200", **({"page_token": token} if token else {})}
            answer = self._json(f"{_API}/registered-models/search?{urlencode(query)}")
            for model in answer.get("registered_models", []):
                if _is_watched(model):
                    yield model
            token = answer.get("next_page_token", "")
            if not token:
                return

    def _version(self, model: str, version: str) -> _Found:
        found = self._versions.get((model, version))
        if found is None or found.again_at < time.monotonic():
            found = self._bring(model, version)
            if found.artefact is not Standing.PENDING:
                self._versions[model, version] = found
        return found

    def _bring(self, model: str, version: str) -> _Found:
        """Fetch and verify. One version's fault is no other's."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="artefact-", dir=self._directory) as folder:
                sha256 = self._download(model, version, Path(folder))
                return _Found(usable(Path(folder), model, sha256))
        except (NotThere, ValueError) as error:
            return _Found(Standing.UNWATCHED, str(error), time.monotonic() + _REFUSED_SECONDS)
        except (SourceError, OSError) as error:
            return _Found(Standing.PENDING, str(error))

    def _download(self, model: str, version: str, target: Path) -> str:
        query = urlencode({"name": model, "version": version})
        known = self._json(f"{_API}/model-versions/get?{query}").get("model_version", {})
        run = known.get("run_id")
        if not run:
            raise NotThere("it has no run, and so no drift artefact")
        info = self._json(f"{_API}/runs/get?{urlencode({'run_id': run})}").get("run", {}).get("info", {})
        uri = urlsplit(info.get("artifact_uri", ""))
        if uri.scheme != "mlflow-artifacts":
            raise NotThere(f"its run's files lie at {info.get('artifact_uri')!r}, not behind MLflow's artifact proxy")
        root = f"{_safe(uri.path.removeprefix(_PROXY).strip('/'))}/{FOLDER}"
        names = [
            _safe(str(entry["path"]))
            for entry in self._json(f"{_PROXY}?{urlencode({'path': root})}").get("files", [])
            if not entry.get("is_dir")
        ]
        if not names:
            raise NotThere(f"its run {run} has no {FOLDER}/: no detectors were fitted at its training")
        for name in names:
            self._save(f"{_PROXY}/{quote(f'{root}/{name}')}", target / PurePosixPath(name).name)
        return next((str(tag["value"]) for tag in known.get("tags", []) if tag.get("key") == SHA256_TAG), "")

    def _save(self, path: str, target: Path) -> None:
        with self._open(path) as answer, target.open("wb") as stream:
            try:
                shutil.copyfileobj(_Limited(answer, MAX_ARRAY_BYTES), stream)
            except (OSError, http.client.HTTPException) as error:
                raise SourceError(f"GET {self._shown}{path}: broke off: {error}") from error
            expected = answer.headers.get("Content-Length")
            if expected is not None and stream.tell() != int(expected):
                raise SourceError(f"GET {self._shown}{path}: ended after {stream.tell()} of {expected} bytes")

    def _json(self, path: str) -> dict[str, Any]:
        with self._open(path) as answer:
            try:
                body = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise SourceError(f"GET {self._shown}{path}: half an answer: {error}") from error
        if not isinstance(body, dict):
            raise SourceError(f"GET {self._shown}{path}: not an object")
        return body

    def _open(self, path: str) -> Any:
        request = urllib.request.Request(self._uri + path)  # noqa: S310 the scheme was checked
        if self._authorization:
            request.add_header("Authorization", self._authorization)
        try:
            return urllib.request.urlopen(request, timeout=_SECONDS, context=self._context)  # noqa: S310
        except urllib.error.HTTPError as error:
            text = error.read(500).decode("utf-8", "replace").strip()
            kind = NotThere if error.code == 404 else SourceError
            raise kind(f"GET {self._shown}{path}: {error.code} {text or error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise SourceError(f"GET {self._shown}{path}: {getattr(error, 'reason', error)}") from error


class _Limited:
    """A stream that may not be longer than it should."""

    def __init__(self, stream: Any, limit: int) -> None:
        self._stream, self._left = stream, limit

    def read(self, size: int = -1) -> bytes:
        chunk: bytes = self._stream.read(size)
        self._left -= len(chunk)
        if self._left < 0:
            raise OSError("the file is too large")
        return chunk


def _is_watched(model: Mapping[str, Any]) -> bool:
    """Whether the model's declaration has `drift`."""
    text = next((tag.get("value", "") for tag in model.get("tags", []) if tag.get("key") == SPEC_TAG), "")
    try:
        spec = json.loads(text) if text else {}
    except ValueError:
        log.warning("Model %s: its tag %s is no JSON", model.get("name"), SPEC_TAG)
        return False
    return isinstance(spec, dict) and bool(spec.get("drift"))


def _safe(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or any(part in ("..", ".") for part in parts) or "\\" in path:
        raise NotThere(f"MLflow names a file {path!r}, which is no path below the run")
    return str(PurePosixPath(path))
