# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Server-side apply by hand: what the API server itself says of a manifest, its warnings too."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

PLURALS = {"NetworkPolicy": "networkpolicies"}


class Refused(Exception):
    """The API server's own words."""


class Client:
    """Talks to the cluster of a kubeconfig that holds a client's certificate, as a file or as data."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        server = urlsplit(cluster["server"])
        context = ssl.create_default_context(cadata=_text(cluster, "certificate-authority", kubeconfig.parent))
        with tempfile.NamedTemporaryFile("w") as pem:
            pem.write(_text(user, "client-certificate", kubeconfig.parent))
            pem.write(_text(user, "client-key", kubeconfig.parent))
            pem.flush()
            context.load_cert_chain(pem.name)
        self._connection = http.client.HTTPSConnection(str(server.hostname), server.port, timeout=30, context=context)
        self.warnings: list[str] = []

    def ask(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Any:
        headers = {"Content-Type": content} if body is not None else {}
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        self._connection.request(method, path, text, headers)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        self.warnings += answer.headers.get_all("Warning") or []
        if answer.status >= 400:
            raise Refused(f"{method} {path}: {answer.status} {text}")
        return json.loads(text) if answer.headers.get_content_type() == "application/json" else text

    def apply(self, manifest: dict[str, Any], *, dry_run: bool = False, text: str | None = None) -> dict[str, Any]:
        """``text``: what to send in the place of the manifest, such as the YAML that it was read from."""
        query = {"fieldManager": "mlops.onprem", "fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
        where = f"{path(manifest)}?{urlencode(query)}"
        return dict(self.ask("PATCH", where, text or manifest, "application/apply-patch+yaml"))


def path(manifest: dict[str, Any]) -> str:
    """Where the API has the object."""
    api, kind, meta = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
    root = f"/apis/{api}" if "/" in api else f"/api/{api}"
    inside = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    return f"{root}{inside}/{PLURALS.get(kind, kind.lower() + 's')}/{meta['name']}"


def altered(sent: Any, kept: Any, at: str = "") -> list[str]:
    """The fields that the API server has otherwise than they were sent; what it adds to mappings is its own."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        return [text for key in sent for text in altered(sent[key], kept.get(key), f"{at}.{key}")]
    if isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        return [
            text for index, pair in enumerate(zip(sent, kept, strict=True)) for text in altered(*pair, f"{at}[{index}]")
        ]
    return [] if sent == kept else [f"{at}: {sent!r} became {kept!r}"]


def _text(entry: dict[str, Any], name: str, folder: Path) -> str:
    if data := entry.get(f"{name}-data"):
        return base64.b64decode(data).decode()
    return (folder / entry[name]).read_text()
