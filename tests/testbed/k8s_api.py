# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Just enough of a Kubernetes client for the bed itself, and of a DNS client."""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nodes import BedError


class ApiError(BedError):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """Calls to an API server with what a kubeconfig holds (client certificate, authority: as data)."""

    def __init__(self, kubeconfig: Path, seconds: float = 10) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server = urlsplit(cluster["server"])
        self._seconds = seconds
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._context = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as pem:
            for part in ("client-certificate-data", "client-key-data"):
                pem.write(base64.b64decode(user[part]))
            pem.flush()
            self._context.load_cert_chain(pem.name)

    def ask(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Any:
        """OSError where nobody answers, ApiError where the answer is no."""
        assert self._server.hostname
        connection = http.client.HTTPSConnection(
            self._server.hostname, self._server.port, timeout=self._seconds, context=self._context
        )
        try:
            headers = {"Content-Type": content} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        is_json = answer.headers.get_content_type() == "application/json"
        if answer.status >= 400:
            message = json.loads(text).get("message", text) if is_json and text else text.strip()
            raise ApiError(answer.status, f"{method} {path}: {answer.status} {message}")
        return json.loads(text) if is_json and text else text

    def apply(self, path: str, manifest: dict[str, Any]) -> Any:
        """Server-side apply; ``path`` names the object."""
        return self.ask(
            "PATCH", f"{path}?fieldManager=testbed&force=true", manifest, content="application/apply-patch+yaml"
        )


def resolves(server: str, name: str, seconds: float = 2) -> bool:
    """Whether a DNS server has an address (A record) for a name."""
    number = secrets.token_bytes(2)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    question = number + b"\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(seconds)
        try:
            connection.sendto(question, (server, 53))
            answer = connection.recv(4096)
        except OSError:
            return False
    return answer[:2] == number and answer[3] & 15 == 0 and answer[6:8] != b"\0\0"
