# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's API at its socket."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import socket
import urllib.parse
from dataclasses import dataclass
from typing import Any

from .._errors import RequestError

SOCKET = "/var/run/docker.sock"


def version_tuple(version: str) -> tuple[int, ...]:
    """``20.10.24+dfsg1`` as (20, 10, 24)."""
    found = re.match(r"[\d.]+", version)
    return tuple(int(part) for part in found.group().split(".") if part) if found else ()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class Swarm:
    """What the engine says of its own membership."""

    state: str  # inactive, pending, active, error, locked
    node_id: str
    address: str
    manager: bool
    cluster_id: str  # known to managers alone
    managers: tuple[str, ...]  # host:port
    error: str

    def facts(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "node_id": self.node_id,
            "address": self.address,
            "manager": self.manager,
            "cluster_id": self.cluster_id,
            "managers": list(self.managers),
            "error": self.error,
        }


NO_SWARM = Swarm("inactive", "", "", False, "", (), "")


class Engine:
    """One engine. Paths carry no version: the engine then speaks its own."""

    def __init__(self, path: str = SOCKET, timeout: float = 60.0) -> None:
        self.path = path
        self.timeout = timeout

    def call(self, method: str, path: str, *, body: Any = None, authorization: str = "", **query: str) -> Any:
        """*authorization*: for a registry, as the engine passes it on.

        :raises RequestError: where the engine doesn't answer, or refuses.
        """
        address = f"unix://{self.path}{path}"
        if query:
            path = f"{path}?{urllib.parse.urlencode(query)}"
        connection = _UnixConnection(self.path, self.timeout)
        try:
            headers = {} if body is None else {"Content-Type": "application/json"}
            if authorization:
                headers["X-Registry-Auth"] = authorization
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            message = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise RequestError(method, address, message, unreachable=True, hint="Is Docker running?") from error
        finally:
            connection.close()
        value: Any = None
        with contextlib.suppress(ValueError):
            value = json.loads(raw)
        if response.status >= 300:
            message = str(value.get("message", value)) if isinstance(value, dict) else raw.decode("utf-8", "replace")
            raise RequestError(method, address, message.strip(), status=response.status)
        return value

    def logs(self, container: str, lines: int = 20) -> str:
        """The last lines that a container wrote, for an error's message; empty where there are none to be had."""
        connection = _UnixConnection(self.path, self.timeout)
        try:
            connection.request("GET", f"/containers/{container}/logs?stdout=1&stderr=1&tail={lines}")
            response = connection.getresponse()
            raw = response.read() if response.status == 200 else b""
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()
        # Each frame has a header of eight bytes: stream, three zeros, length.
        return re.sub(rb"[\0-\2]\0\0\0.{4}", b"", raw, flags=re.DOTALL).decode("utf-8", "replace").strip()

    def pull_missing(self, image: str, registry: str, username: str, password: str) -> None:
        """Has the engine take an image by digest out of a registry, where it doesn't have it.

        Whether it has it afterwards is another question.

        :raises RequestError: where the engine doesn't answer, or refuses.
        """
        try:
            self.call("GET", f"/images/{image}/json")
        except RequestError as error:
            if error.status != 404:
                raise
            login = {"username": username, "password": password, "serveraddress": registry.partition("/")[0]}
            text = json.dumps(login if username else {}).encode()
            self.call("POST", "/images/create", fromImage=image, authorization=base64.urlsafe_b64encode(text).decode())

    def answers(self) -> bool:
        with contextlib.suppress(RequestError):
            self.call("GET", "/_ping")
            return True
        return False

    def info(self) -> dict[str, Any]:
        return dict(self.call("GET", "/info"))

    def swarm(self) -> Swarm:
        return read_swarm(self.info())


def read_swarm(info: dict[str, Any]) -> Swarm:
    """The Swarm part of ``GET /info``."""
    raw = info.get("Swarm") or {}
    return Swarm(
        state=raw.get("LocalNodeState") or "inactive",
        node_id=raw.get("NodeID") or "",
        address=raw.get("NodeAddr") or "",
        manager=bool(raw.get("ControlAvailable")),
        cluster_id=(raw.get("Cluster") or {}).get("ID") or "",
        managers=tuple(manager["Addr"] for manager in raw.get("RemoteManagers") or ()),
        error=raw.get("Error") or "",
    )
