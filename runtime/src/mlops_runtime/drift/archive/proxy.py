# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""MLflow's artefact proxy and the little of its API that the archive needs, with the standard library alone.

Permissions on artefacts are those of the experiment whose number the path begins with: the archive has one of its own,
whoever makes it may write there, and readers are given READ on it.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

_ARTEFACTS: Final = "/api/2.0/mlflow-artifacts/artifacts"
_API: Final = "/api/2.0/mlflow"
_SECONDS: Final = 60.0


class ProxyError(Exception):
    """MLflow didn't do what it was asked for; `status` is HTTP's, 0 where there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    is_directory: bool
    size: int


class Proxy:
    """A client for one tracking server."""

    def __init__(self, uri: str, username: str = "", password: str = "") -> None:
        parts = urlsplit(uri)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ProxyError(f"MLFLOW_TRACKING_URI: {uri!r} is no http or https address")
        self._uri = uri.rstrip("/")
        self._shown = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
        self._authorization = ""
        if username:
            self._authorization = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
        self._context = ssl.create_default_context() if parts.scheme == "https" else None

    def put(self, path: str, body: bytes) -> None:
        """Write an artefact; one of that name is replaced."""
        self._call("PUT", f"{_ARTEFACTS}/{quote(path)}", body, "application/octet-stream")

    def get(self, path: str) -> bytes:
        return self._call("GET", f"{_ARTEFACTS}/{quote(path)}")

    def list(self, path: str) -> list[Entry]:
        """What is in a directory; nothing where there is none."""
        try:
            answer = self._json("GET", f"{_ARTEFACTS}?{urlencode({'path': path})}")
        except ProxyError as error:
            if error.status == 404:
                return []
            raise
        return [
            Entry(str(item["path"]).rpartition("/")[2], bool(item.get("is_dir")), int(item.get("file_size") or 0))
            for item in answer.get("files", [])
        ]

    def delete(self, path: str) -> None:
        """Remove one artefact; fine if it isn't there."""
        try:
            self._call("DELETE", f"{_ARTEFACTS}/{quote(path)}")
        except ProxyError as error:
            if error.status != 404:
                raise

    def experiment(self, name: str) -> str:
        """Where an experiment's artefacts lie below the proxy; it is made where there is none."""
        query = urlencode({"experiment_name": name})
        try:
            found = self._json("GET", f"{_API}/experiments/get-by-name?{query}")
        except ProxyError as error:
            if error.status != 404:
                raise
            try:
                self._json("POST", f"{_API}/experiments/create", {"name": name})
            except ProxyError as refused:
                if refused.status != 400:  # somebody made it meanwhile
                    raise
            found = self._json("GET", f"{_API}/experiments/get-by-name?{query}")
        location = urlsplit(str(found.get("experiment", {}).get("artifact_location", "")))
        path = location.path.removeprefix(_ARTEFACTS).strip("/")
        if location.scheme != "mlflow-artifacts" or not path:
            raise ProxyError(
                f"{self._shown}: the experiment {name} keeps its files at {location.geturl()!r}, "
                "not behind MLflow's artefact proxy (mlflow-artifacts:)"
            )
        return path

    def registered_models(self) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            query = {"max_results": "200", **({"page_token": token} if token else {})}
            answer = self._json("GET", f"{_API}/registered-models/search?{urlencode(query)}")
            yield from answer.get("registered_models", [])
            token = answer.get("next_page_token", "")
            if not token:
                return

    def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._call(method, path, None if body is None else json.dumps(body).encode(), "application/json")
        try:
            found = json.loads(answer)
        except ValueError as error:
            raise ProxyError(f"{method} {self._shown}{path}: not JSON") from error
        if not isinstance(found, dict):
            raise ProxyError(f"{method} {self._shown}{path}: not an object")
        return found

    def _call(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        request = urllib.request.Request(self._uri + path, body, method=method)  # noqa: S310 the scheme was checked
        if self._authorization:
            request.add_header("Authorization", self._authorization)
        if body is not None:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS, context=self._context) as answer:  # noqa: S310
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            text = error.read(500).decode("utf-8", "replace").strip()
            raise ProxyError(
                f"{method} {self._shown}{path}: {error.code} {text or error.reason}", error.code
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise ProxyError(f"{method} {self._shown}{path}: {getattr(error, 'reason', error)}") from error
