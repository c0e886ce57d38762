# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""MLflow as containers ask it: its REST API and its artifact proxy, with the standard library alone."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from mlops_runtime.contracts.settings import Tracking

SPEC_TAG: Final = "mlops.spec"
"""Of a registered model: its declaration."""
_API: Final = "/api/2.0/mlflow"
_PROXY: Final = "/api/2.0/mlflow-artifacts/artifacts"
_SECONDS: Final = 60.0


class MlflowError(Exception):
    """MLflow didn't do what it was asked for."""

    def __init__(self, message: str, *, status: int = 0, passing: bool = False) -> None:
        super().__init__(message)
        self.status = status
        """HTTP's; 0 where there was no answer, or one that says something else than it should."""
        self.passing = passing or status >= 500 or status == 429
        """Whether it may be otherwise another time."""


class Entry(NamedTuple):
    """What is in a directory of artefacts; `path` is relative to it."""

    path: str
    is_directory: bool


class Mlflow:
    """A client for one tracking server. Paths of artefacts are those below its proxy."""

    def __init__(self, tracking: Tracking, seconds: float = _SECONDS) -> None:
        """Raises MlflowError."""
        parts = urlsplit(tracking.uri)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MlflowError(f"MLFLOW_TRACKING_URI: {tracking.uri!r} is no http or https address")
        self._uri = tracking.uri.rstrip("/")
        port = f":{parts.port}" if parts.port else ""
        self.shown = f"{parts.scheme}://{parts.hostname}{port}{parts.path}".rstrip("/")
        """Its address as messages may tell it."""
        self._seconds = seconds
        self._authorization = ""
        if tracking.username:
            pair = f"{tracking.username}:{tracking.password}"
            self._authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        self._context = ssl.create_default_context() if parts.scheme == "https" else None

    # The registry

    def registered_models(self) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            query = {"max_results": "200", **({"page_token": token} if token else {})}
            answer = self.api("registered-models/search", query)
            yield from answer.get("registered_models", [])
            token = answer.get("next_page_token", "")
            if not token:
                return

    def version(self, model: str, version: str) -> dict[str, Any]:
        """A model version, with its tags."""
        found = self.api("model-versions/get", {"name": model, "version": version}).get("model_version")
        if not isinstance(found, dict):
            raise MlflowError(f"{self.shown}: no model_version in the answer for {model} {version}", passing=True)
        return found

    def api(self, path: str, query: dict[str, str] | None = None, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """GET, or POST where there is a body."""
        path = f"{_API}/{path}" + (f"?{urlencode(query)}" if query else "")
        return self._json(path, None if body is None else json.dumps(body).encode())

    def experiment(self, name: str) -> str:
        """Where an experiment's artefacts lie below the proxy; it is made where there is none."""
        query = {"experiment_name": name}
        try:
            found = self.api("experiments/get-by-name", query)
        except MlflowError as error:
            if error.status != 404:
                raise
            try:
                self.api("experiments/create", body={"name": name})
            except MlflowError as refused:
                if refused.status != 400:  # somebody made it meanwhile
                    raise
            found = self.api("experiments/get-by-name", query)
        return self.place(str(found.get("experiment", {}).get("artifact_location", "")), f"the experiment {name}")

    # Artefacts

    def place(self, uri: str, what: str) -> str:
        """An artefact's path below the proxy by its URI. Raises MlflowError where it isn't there."""
        parts = urlsplit(uri)
        path = parts.path.removeprefix(_PROXY).strip("/")
        if parts.scheme != "mlflow-artifacts" or not path:
            raise MlflowError(f"{what} lies at {uri!r}, not behind MLflow's artifact proxy (mlflow-artifacts:)")
        return safe(path)

    def list(self, directory: str) -> list[Entry]:
        """What is in a directory; nothing where there is none."""
        try:
            answer = self._json(f"{_PROXY}?{urlencode({'path': directory})}")
        except MlflowError as error:
            if error.status == 404:
                return []
            raise
        return [Entry(safe(str(item["path"])), bool(item.get("is_dir"))) for item in answer.get("files", [])]

    def get(self, path: str) -> bytes:
        with self._call("GET", f"{_PROXY}/{quote(path)}") as answer:
            return self._rest(answer, path)

    def save(self, path: str, target: Path, limit: int | None = None) -> str:
        """Write an artefact to a file; returns its SHA-256. One with more bytes than `limit` is refused."""
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with self._call("GET", f"{_PROXY}/{quote(path)}") as answer, target.open("wb") as stream:
            expected = answer.headers.get("Content-Length")
            written = 0
            try:
                while chunk := answer.read(1 << 20):
                    digest.update(chunk)
                    written += stream.write(chunk)
                    if limit is not None and written > limit:
                        raise MlflowError(f"{self.shown}: {path} has more than {limit} bytes")
            except (OSError, http.client.HTTPException) as error:
                raise MlflowError(
                    f"{self.shown}: {path} broke off after {written} bytes: {error}", passing=True
                ) from error
        if expected is not None and written != int(expected):
            raise MlflowError(f"{self.shown}: {path} ended after {written} of {expected} bytes", passing=True)
        return digest.hexdigest()

    def put(self, path: str, body: bytes) -> None:
        """Write an artefact; one of that name is replaced."""
        with self._call("PUT", f"{_PROXY}/{quote(path)}", body, "application/octet-stream") as answer:
            self._rest(answer, path)

    def delete(self, path: str) -> None:
        """Remove one artefact; fine if it isn't there."""
        try:
            with self._call("DELETE", f"{_PROXY}/{quote(path)}") as answer:
                self._rest(answer, path)
        except MlflowError as error:
            if error.status != 404:
                raise

    # HTTP

    def _json(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        with self._call("GET" if body is None else "POST", path, body, "application/json") as answer:
            text = self._rest(answer, path)
        try:
            found = json.loads(text)
        except ValueError as error:
            raise MlflowError(f"{self.shown}{path}: half an answer: {error}", passing=True) from error
        if not isinstance(found, dict):
            raise MlflowError(f"{self.shown}{path}: not an object")
        return found

    def _rest(self, answer: Any, path: str) -> bytes:
        try:
            return bytes(answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise MlflowError(f"{self.shown}{path}: half an answer: {error}", passing=True) from error

    def _call(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> AbstractContextManager[Any]:
        request = urllib.request.Request(self._uri + path, body, method=method)  # noqa: S310 the scheme was checked
        if self._authorization:
            request.add_header("Authorization", self._authorization)
        if body is not None:
            request.add_header("Content-Type", kind)
        try:
            opened: AbstractContextManager[Any] = urllib.request.urlopen(  # noqa: S310 the scheme was checked
                request, timeout=self._seconds, context=self._context
            )
        except urllib.error.HTTPError as error:
            text = error.read(500).decode("utf-8", "replace").strip()
            message = f"{method} {self.shown}{path}: {error.code} {text or error.reason}"
            raise MlflowError(message, status=error.code) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise MlflowError(f"{method} {self.shown}{path}: {reason}", passing=True) from error
        return opened


def spec_of(model: Mapping[str, Any]) -> dict[str, Any]:
    """A registered model's declaration; empty where it has none. Raises ValueError where it is no JSON."""
    text = next((tag.get("value", "") for tag in model.get("tags", []) if tag.get("key") == SPEC_TAG), "")
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}


def tags_of(entity: Mapping[str, Any]) -> dict[str, str]:
    """Tags as MLflow's REST API lists them."""
    return {str(tag["key"]): str(tag.get("value", "")) for tag in entity.get("tags") or []}


def safe(path: str) -> str:
    """A path that leads nowhere else. Raises MlflowError."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or any(part in ("..", ".") for part in parts) or "\\" in path:
        raise MlflowError(f"MLflow names a file {path!r}, which is no path below the one that was asked for")
    return str(PurePosixPath(path))
