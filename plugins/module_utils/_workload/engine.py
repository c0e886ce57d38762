# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The Docker engine's API, raw: paths and plain data, errors in words. The SDK brings the transport."""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import WorkloadError

try:
    import docker
    import docker.errors
    import docker.utils
    import requests.exceptions

    SDK_ERROR: str | None = None
except ImportError as error:
    SDK_ERROR = str(error)

EVENTS_SILENCE = 3600.0  # seconds without an event after which the stream is opened again
DEFAULT_HOST = "unix:///var/run/docker.sock"


class EngineError(WorkloadError):
    """An answer other than success. ``status`` is HTTP's; 0 means that there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


class Engine:
    def __init__(
        self, host: str | None = None, *, timeout: float = 60.0, auth: Mapping[str, str] | None = None
    ) -> None:
        """``host`` as in DOCKER_HOST, which counts when none is given; ``auth`` has username, password and server."""
        if SDK_ERROR is not None:
            raise EngineError(f"Python's docker package is missing ({SDK_ERROR}): install it for this interpreter")
        self.host = host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
        self.timeout = timeout
        self.auth = dict(auth or {})
        try:
            options: dict[str, Any] = {"base_url": self.host, "version": "auto", "timeout": timeout}
            options |= docker.utils.kwargs_from_env(environment={**os.environ, "DOCKER_HOST": self.host})
            self._client = docker.APIClient(**options)
        except docker.errors.DockerException as error:
            raise EngineError(f"No Docker engine answers at {self.host}: {error}") from error
        self.api = tuple(int(part) for part in str(self._client.api_version).split("."))

    def clone(self) -> Engine:
        """One of its own for another thread."""
        return Engine(self.host, timeout=self.timeout, auth=self.auth)

    @property
    def socket(self) -> str | None:
        """The path of the engine's socket, if it is one of this machine."""
        return self.host.removeprefix("unix://") if self.host.startswith("unix://") else None

    @property
    def socket_group(self) -> int | None:
        if self.socket is None:
            return None
        try:
            return Path(self.socket).stat().st_gid
        except OSError:
            return None

    @property
    def auth_header(self) -> dict[str, str]:
        if not self.auth:
            return {}
        names = {"username": "username", "password": "password", "server": "serveraddress"}
        data = {names[key]: value for key, value in self.auth.items() if key in names and value}
        return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(data).encode()).decode()}

    @property
    def daemon_options(self) -> dict[str, Any]:
        """The engine's own settings, if it is this machine's and they can be read."""
        try:
            found = json.loads(Path("/etc/docker/daemon.json").read_text()) if self.socket else {}
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def get(self, path: str, **params: Any) -> Any:
        return self._call("GET", path, params)

    def find(self, path: str, **params: Any) -> Any:
        """As get; None if there is no such thing."""
        try:
            return self._call("GET", path, params)
        except EngineError as error:
            if error.status == 404:
                return None
            raise

    def post(self, path: str, data: Any = None, *, auth: bool = False, **params: Any) -> Any:
        return self._call("POST", path, params, data, headers=self.auth_header if auth else {})

    def delete(self, path: str, **params: Any) -> bool:
        """False if it was gone already."""
        try:
            self._call("DELETE", path, params)
        except EngineError as error:
            if error.status == 404:
                return False
            raise
        return True

    def pull(self, reference: str) -> Iterator[dict[str, Any]]:
        """The engine's messages while it pulls."""
        params = {"fromImage": reference}
        response = self._send("POST", "/images/create", params, None, self.auth_header, stream=True, timeout=3600.0)
        for line in response.iter_lines():
            if not line:
                continue
            message = json.loads(line)
            if "error" in message:
                raise EngineError(f"Pulling {reference} failed: {message['error']}", 500)
            yield message

    def events(self, filters: Mapping[str, list[str]]) -> Iterator[bytes]:
        """A line for every event of this node and of the Swarm; ends when the connection does."""
        response = self._send("GET", "/events", {"filters": filters}, None, {}, stream=True, timeout=EVENTS_SILENCE)
        try:
            for line in response.iter_lines():
                if line:
                    yield line
        except requests.exceptions.RequestException as error:
            raise EngineError(f"The stream of events of {self.host} ended: {error}") from error
        finally:
            response.close()

    def log_lines(self, path: str, lines: int) -> list[str]:
        """The last lines that a container, task or service printed; none if they can't be had."""
        params = {"stdout": "1", "stderr": "1", "tail": str(lines)}
        try:
            response = self._send("GET", path, params, None, {}, timeout=8.0)
        except EngineError:
            return []
        return demultiplex(response.content)[-lines:]

    def stamped_log(self, path: str, since: str, lines: int, most: int) -> str:
        """What a task printed behind a time (seconds since 1970), each line with its own; without one its last lines.
        At most so many bytes, cut at a line's end; none if it can't be had."""
        params = {
            "stdout": "1",
            "stderr": "1",
            "timestamps": "1",
            **({"since": since} if since else {"tail": str(lines)}),
        }
        try:
            response = self._send("GET", path, params, None, {}, stream=True, timeout=8.0)
        except EngineError:
            return ""
        found = b""
        try:
            for chunk in response.iter_content(2**16):
                found += chunk
                if len(found) > most:
                    break
        except requests.exceptions.RequestException:
            pass  # its node may have gone in the middle: what came is true
        finally:
            response.close()
        text = demultiplex(found)
        return "\n".join(text[:-1] if len(found) > most else text)

    def exec(self, container: str, command: list[str], *, timeout: float) -> tuple[int, str]:
        """Runs a command in a container of this engine: its exit code and what it printed."""
        created = self.post(
            f"/containers/{container}/exec", {"AttachStdout": True, "AttachStderr": True, "Cmd": command}
        )
        try:
            response = self._send(
                "POST", f"/exec/{created['Id']}/start", {}, {"Detach": False, "Tty": False}, {}, timeout=timeout
            )
        except EngineError as error:
            if error.status:
                raise
            return 124, f"no answer within {timeout:g} s"
        code = self.get(f"/exec/{created['Id']}/json").get("ExitCode")
        return (1 if code is None else int(code)), "\n".join(demultiplex(response.content))

    def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any],
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        response = self._send(method, path, params, data, headers or {})
        return response.json() if response.content else None

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any],
        data: Any,
        headers: Mapping[str, str],
        *,
        stream: bool = False,
        timeout: float | None = None,
    ) -> Any:
        query = {key: value if isinstance(value, str) else json.dumps(value) for key, value in params.items()}
        url = f"{self._client.base_url}/v{self._client.api_version}{path}"
        try:
            response = self._client.request(
                method,
                url,
                params=query,
                json=data,
                headers=dict(headers),
                stream=stream,
                timeout=timeout or self.timeout,
            )
            if not stream:
                response.content  # noqa: B018 (reads the body, so that a cut connection shows here)
        except requests.exceptions.RequestException as error:
            raise EngineError(f"The Docker engine at {self.host} didn't answer {method} {path}: {error}") from error
        if response.status_code >= 400:
            try:
                message = response.json().get("message", response.text)
            except ValueError:
                message = response.text
            raise EngineError(
                f"Docker refused {method} {path} ({response.status_code}): {message}", response.status_code
            )
        return response


def demultiplex(data: bytes) -> list[str]:
    """The text lines in the engine's stream of framed stdout and stderr (8 bytes of header before each frame)."""
    chunks = []
    position = 0
    while position + 8 <= len(data) and data[position] in (0, 1, 2) and data[position + 1 : position + 4] == b"\0\0\0":
        size = struct.unpack(">I", data[position + 4 : position + 8])[0]
        chunks.append(data[position + 8 : position + 8 + size])
        position += 8 + size
    text = b"".join(chunks) if chunks else data
    return text.decode("utf-8", "replace").splitlines()
