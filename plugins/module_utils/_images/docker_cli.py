# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Docker command line, where only it will do: BuildKit builds, push and pull."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from .errors import ImagesError

_TAIL = 25


@dataclass(frozen=True)
class Login:
    """Credentials for one registry."""

    address: str
    username: str
    password: str = field(repr=False)


def find_buildkit(path: str | None = None) -> str | None:
    """A docker command line that can BuildKit: below 23 it is built in, from 23 on the buildx plug-in is needed."""
    folders = (path if path is not None else os.environ.get("PATH", "")).split(os.pathsep)
    if path is None:
        folders += ["/usr/bin", "/usr/local/bin"]
    for folder in dict.fromkeys(filter(None, folders)):
        command = Path(folder) / "docker"
        if command.is_file() and os.access(command, os.X_OK) and _has_buildkit(str(command)):
            return str(command)
    return None


def _has_buildkit(command: str) -> bool:
    try:
        version = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
        found = re.search(r"version (\d+)\.", version)
        if found is None:
            return False
        if int(found.group(1)) < 23:
            return int(found.group(1)) > 18
        return (
            subprocess.run([command, "buildx", "version"], capture_output=True, timeout=20, check=False).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


@dataclass
class DockerCli:
    """One docker command line against one engine; every command's output goes to *log* as well."""

    command: str
    log: Path
    host: str = ""
    login: Login | None = None
    timeout: float = 3600.0

    def exists(self, reference: str) -> bool:
        return self._quiet(["image", "inspect", "--format", "{{.Id}}", reference]) is not None

    def repo_digest(self, reference: str) -> str | None:
        """The digest under which *reference* was pulled."""
        name = re.sub(r"(@sha256:.*|:[^/:]*)$", "", reference)
        output = self._quiet(["image", "inspect", "--format", "{{json .RepoDigests}}", reference])
        names = {name, name.removeprefix("docker.io/"), name.removeprefix("docker.io/library/")}
        for entry in json.loads(output or "[]") or []:
            repository, dummy, digest = entry.partition("@")
            if repository in names:
                return str(digest)
        return None

    def build(
        self,
        context: BinaryIO,
        tag: str,
        *,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        secrets: Mapping[str, str],
        network: str,
        fresh: bool,
    ) -> None:
        """Builds the context (a tar) with BuildKit. Secrets lie in files that only we can read, meanwhile."""
        with tempfile.TemporaryDirectory(prefix="mlops-build-") as folder:
            command = ["build", "--progress", "plain", "--tag", tag, "--network", network]
            for name, content in secrets.items():
                path = Path(folder) / name
                path.touch(mode=0o600)
                path.write_text(content)
                command += ["--secret", f"id={name},src={path}"]
            for name, value in arguments.items():
                command += ["--build-arg", f"{name}={value}"]
            for name, value in labels.items():
                command += ["--label", f"{name}={value}"]
            if fresh:
                command.append("--no-cache")
            self._run([*command, "-"], stdin=context)

    def import_rootfs(self, producer: Sequence[str], tag: str, environment: Mapping[str, str]) -> None:
        """Runs *producer*, which writes a tar to its standard output, and makes an image of that."""
        with self.log.open("ab") as log, self._environment() as docker_environment:
            log.write(b"# " + " ".join(producer).encode() + b"\n")
            log.flush()
            with subprocess.Popen(
                producer, stdout=subprocess.PIPE, stderr=log, env={**os.environ, **environment}, start_new_session=True
            ) as source:
                sink = subprocess.run(
                    [*self._base(), "import", "-", tag],
                    stdin=source.stdout,
                    stdout=log,
                    stderr=log,
                    env=docker_environment,
                    timeout=self.timeout,
                    check=False,
                )
                if source.stdout is not None:
                    source.stdout.close()
                status = source.wait(timeout=60)
        # Where the import fails, the producer's broken pipe is only what follows from it.
        if sink.returncode != 0:
            raise ImagesError(f"docker import failed with status {sink.returncode}; {self._tail()}")
        if status != 0:
            self._quiet(["image", "rm", tag])
            raise ImagesError(f"{producer[0]} failed with status {status}; {self._tail()}")

    def pull(self, reference: str) -> None:
        self._run(["pull", reference], retries=2)

    def push(self, reference: str) -> None:
        self._run(["push", reference], retries=2)

    def tag(self, source: str, target: str) -> None:
        self._run(["tag", source, target])

    def remove(self, reference: str) -> bool:
        return self._quiet(["image", "rm", reference]) is not None

    def _base(self) -> list[str]:
        return [self.command, *(["--host", self.host] if self.host else [])]

    @contextlib.contextmanager
    def _environment(self) -> Iterator[dict[str, str]]:
        """BuildKit on the engine's own builder; credentials in a configuration of their own, away after use."""
        environment = {
            **os.environ,
            "DOCKER_BUILDKIT": "1",
            "BUILDX_BUILDER": "default",
            "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
            "DOCKER_CLI_HINTS": "false",
        }
        if self.host:
            environment.pop("DOCKER_HOST", None)
            environment.pop("DOCKER_CONTEXT", None)
        if self.login is None:
            yield environment
            return
        with tempfile.TemporaryDirectory(prefix="mlops-login-") as folder:
            auth = base64.b64encode(f"{self.login.username}:{self.login.password}".encode()).decode()
            path = Path(folder) / "config.json"
            path.touch(mode=0o600)
            path.write_text(json.dumps({"auths": {self.login.address.partition("/")[0]: {"auth": auth}}}))
            # The plug-ins of the user (buildx) lie below the usual configuration.
            plugins = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "cli-plugins"
            if plugins.is_dir():
                (Path(folder) / "cli-plugins").symlink_to(plugins)
            yield {**environment, "DOCKER_CONFIG": folder}

    def _quiet(self, arguments: Sequence[str]) -> str | None:
        with self._environment() as environment:
            done = subprocess.run(
                [*self._base(), *arguments], capture_output=True, text=True, env=environment, timeout=120, check=False
            )
        return done.stdout.strip() if done.returncode == 0 else None

    def _run(self, arguments: Sequence[str], *, stdin: BinaryIO | None = None, retries: int = 0) -> None:
        for attempt in range(retries + 1):
            with self.log.open("ab") as log, self._environment() as environment:
                log.write(f"# docker {arguments[0]} ({time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())})\n".encode())
                log.flush()
                process = subprocess.Popen(
                    [*self._base(), *arguments],
                    stdin=stdin if stdin is not None else subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
                try:
                    status = process.wait(timeout=self.timeout)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    raise ImagesError(
                        f"docker {arguments[0]} took longer than {self.timeout:.0f} s; {self._tail()}"
                    ) from None
                except BaseException:
                    os.killpg(process.pid, signal.SIGKILL)
                    raise
            if status == 0:
                return
            if attempt < retries:
                time.sleep(2 * (attempt + 1))
        raise ImagesError(f"docker {arguments[0]} failed with status {status}; {self._tail()}")

    def _tail(self) -> str:
        """The last lines of the log without the engine's repetitions, and where the rest is."""
        lines = [
            line for line in self.log.read_text(errors="replace").splitlines() if not re.match(r"^#\d+ sha256:", line)
        ]
        return f"the last lines of {self.log}:\n" + "\n".join(lines[-_TAIL:])
