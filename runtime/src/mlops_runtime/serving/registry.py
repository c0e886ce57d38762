# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Files of a model version out of MLflow: its REST API and its artifact proxy, with the standard library alone."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from mlops_runtime.contracts.digest import TAG, is_ignored

_SECONDS = 60.0


class RegistryError(Exception):
    """MLflow didn't give what it was asked for. `passing` tells whether it may be another time."""

    def __init__(self, message: str, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


@dataclass(frozen=True)
class Credentials:
    username: str
    password: str

    def header(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class Registry:
    """A client for one tracking server."""

    def __init__(self, uri: str, credentials: Credentials | None = None) -> None:
        parts = urlsplit(uri)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RegistryError(f"MLFLOW_TRACKING_URI: {uri!r} is no http or https address")
        self._uri = uri.rstrip("/")
        self._shown = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}".rstrip(
            "/"
        )
        self._credentials = credentials
        self._context = ssl.create_default_context() if parts.scheme == "https" else None

    def digest(self, name: str, version: str) -> str | None:
        """The tree digest that the model version was registered with."""
        tags = self._version(name, version).get("tags", [])
        return next((tag["value"] for tag in tags if tag.get("key") == TAG), None)

    def download(self, name: str, version: str, target: Path) -> dict[str, str]:
        """Write the version's files below `target`; returns relative path -> sha256 of what was written."""
        root = self._artifact_path(name, version)
        digests: dict[str, str] = {}
        for path in self._files(root):
            relative = PurePosixPath(path).relative_to(root)
            if is_ignored(str(relative)):
                continue
            digests[str(relative)] = self._save(path, target / relative)
        if not digests:
            raise RegistryError(f"{self._shown}: version {version} of model {name} has no files")
        return digests

    def _version(self, name: str, version: str) -> dict[str, Any]:
        query = urlencode({"name": name, "version": version})
        answer = self._json(f"/api/2.0/mlflow/model-versions/get?{query}")
        found = answer.get("model_version")
        if not isinstance(found, dict):
            raise RegistryError(f"{self._shown}: no model_version in the answer for {name} {version}", passing=True)
        return found

    def _artifact_path(self, name: str, version: str) -> str:
        """The version's place below the artifact proxy."""
        query = urlencode({"name": name, "version": version})
        uri = self._json(f"/api/2.0/mlflow/model-versions/get-download-uri?{query}").get("artifact_uri", "")
        if uri.startswith("models:/m-"):
            model = uri.removeprefix("models:/")
            answer = self._json(f"/api/2.0/mlflow/logged-models/{quote(model, safe='')}")
            uri = answer.get("model", {}).get("info", {}).get("artifact_uri", "")
        parts = urlsplit(uri)
        if parts.scheme != "mlflow-artifacts":
            raise RegistryError(
                f"version {version} of model {name} lies at {uri!r}; only files behind MLflow's artifact proxy "
                "(mlflow-artifacts:) can be fetched"
            )
        path = parts.path.removeprefix("/api/2.0/mlflow-artifacts/artifacts").strip("/")
        return _safe(path)

    def _files(self, directory: str) -> Iterator[str]:
        query = urlencode({"path": directory})
        for entry in self._json(f"/api/2.0/mlflow-artifacts/artifacts?{query}").get("files", []):
            # The proxy names entries relative to the directory that was listed.
            path = f"{directory}/{_safe(entry['path'])}"
            if entry.get("is_dir"):
                yield from self._files(path)
            else:
                yield path

    def _save(self, path: str, target: Path) -> str:
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with self._open(f"/api/2.0/mlflow-artifacts/artifacts/{quote(path)}") as answer, target.open("wb") as stream:
            expected = answer.headers.get("Content-Length")
            written = 0
            try:
                while chunk := answer.read(1 << 20):
                    digest.update(chunk)
                    written += stream.write(chunk)
            except (OSError, http.client.HTTPException) as error:
                raise RegistryError(f"{self._shown}: {path} broke off after {written} bytes: {error}", True) from error
        if expected is not None and written != int(expected):
            raise RegistryError(f"{self._shown}: {path} ended after {written} of {expected} bytes", passing=True)
        return digest.hexdigest()

    def _json(self, path: str) -> dict[str, Any]:
        with self._open(path) as answer:
            try:
                body = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise RegistryError(f"GET {self._shown}{path}: half an answer: {error}", passing=True) from error
        if not isinstance(body, dict):
            raise RegistryError(f"GET {self._shown}{path}: not an object")
        return body

    def _open(self, path: str) -> Any:
        request = urllib.request.Request(self._uri + path)  # noqa: S310 the scheme was checked
        if self._credentials is not None:
            request.add_header("Authorization", self._credentials.header())
        try:
            return urllib.request.urlopen(request, timeout=_SECONDS, context=self._context)  # noqa: S310
        except urllib.error.HTTPError as error:
            text = error.read(500).decode("utf-8", "replace").strip()
            message = f"GET {self._shown}{path}: {error.code} {text or error.reason}"
            raise RegistryError(message, passing=error.code >= 500 or error.code == 429) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise RegistryError(f"GET {self._shown}{path}: {reason}", passing=True) from error


def _safe(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or any(part in ("..", ".") for part in parts) or "\\" in path:
        raise RegistryError(f"MLflow names a file {path!r}, which is no path below the model")
    return str(PurePosixPath(path))
