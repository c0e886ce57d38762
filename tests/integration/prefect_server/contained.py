# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Programs of the Prefect image as the platform's containers run them: a user without capabilities, a root that is
read-only, a /tmp in memory, and nothing that outlives them; without an engine, by namespaces alone."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
IMAGE = ROOT / "images" / "prefect"
USER = 10001
# What is needed lies below /mnt in there: the interpreter's own directory and the checkout may be closed to others.
NAMESPACES = (
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child=SIGKILL",
    "--mount-proc",
    "--propagation",
    "private",
)
ENTER = """
set -e
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/python /mnt/environment /mnt/files
mount --bind "$0" /mnt/python
mount --bind "$1" /mnt/environment
mount --bind "$2" /mnt/files
shift 2
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -o remount,bind,ro /mnt
mount -o remount,bind,ro /
cd /tmp
exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$@"
"""


def environment() -> Path:
    """The virtual environment of the image's lock, with the pages put in place as the image's build does, once."""
    command = [ROOT / "bin" / "python-env", "prefect-server"]
    given = {**os.environ, "MLOPS_PYTHON": sys.executable}
    made = subprocess.run(command, env=given, stdout=subprocess.PIPE, text=True, check=True, timeout=1800)
    found = Path(made.stdout.strip())
    pages = IMAGE / "pages.py"
    done = found / f".pages-{hashlib.sha256(pages.read_bytes()).hexdigest()[:12]}"
    if not done.exists():
        subprocess.run([found / "bin" / "python", pages], check=True, timeout=900)
        done.touch()
    return found


class Containers:
    """What runs, by name; each has a log beside the others'."""

    def __init__(self, directory: Path, secrets: Mapping[str, str]) -> None:
        self.directory = directory
        self._environment = environment()
        self._files = directory / "files"
        self._files.mkdir()
        shutil.copy(IMAGE / "entrypoint.py", self._files / "entrypoint.py")
        for name, value in secrets.items():
            (self._files / name).write_text(value)
            os.chown(self._files / name, USER, USER)
            (self._files / name).chmod(0o400)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    @contextlib.contextmanager
    def made(cls, directory: Path, secrets: Mapping[str, str]) -> Iterator[Containers]:
        containers = cls(directory, secrets)
        try:
            yield containers
        finally:
            for name in list(containers._running):
                containers.kill(name)

    def start(self, name: str, *arguments: str, **env: str) -> None:
        """Runs the entry point, which is process 1 in there: when it goes, all goes."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        given = {
            **image_environment(),
            "PATH": "/mnt/python/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH": "/mnt/python/lib",
            "PYTHONPATH": f"/mnt/environment/lib/{version}/site-packages",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "HOME": "/tmp",
            **env,
        }
        program = [f"/mnt/python/bin/{version}", "/mnt/files/entrypoint.py", *arguments]
        mounts = [sys.base_prefix, str(self._environment), str(self._files)]
        with self.log(name).open("ab") as output:
            process = subprocess.Popen(
                [*NAMESPACES, "sh", "-c", ENTER, *mounts, *program],
                env=given,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._running[name] = process

    def process(self, name: str) -> int:
        """Its id on this machine."""
        above = self._running[name].pid
        return int(Path(f"/proc/{above}/task/{above}/children").read_text().split()[0])

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def said(self, name: str) -> str:
        return self.log(name).read_text(errors="replace")

    def run(self, name: str, *arguments: str, **env: str) -> int:
        """Runs it to its end; the exit code."""
        self.start(name, *arguments, **env)
        return self._running.pop(name).wait(900)

    def kill(self, name: str) -> None:
        """At once, with all that it has started, as an engine does when its host dies."""
        with contextlib.suppress(OSError, IndexError):
            os.kill(self.process(name), signal.SIGKILL)
        process = self._running.pop(name)
        try:
            process.wait(60)
        finally:
            process.kill()

    def wait_for(self, condition: Callable[[], bool], timeout: float, name: str) -> None:
        """Until the condition holds, as long as that one runs; the end of its log tells why it doesn't."""
        deadline = time.monotonic() + timeout
        while not condition():
            runs = self._running[name].poll() is None
            assert runs and time.monotonic() < deadline, f"{name} is not ready:\n{self.said(name)[-3000:]}"
            time.sleep(0.5)


def image_environment() -> dict[str, str]:
    """What the Dockerfile's ENV says."""
    text = (IMAGE / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split()[1:] for line in text.splitlines() if line.startswith("ENV ")]
    return dict(item.split("=", 1) for line in lines for item in line)
