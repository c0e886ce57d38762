# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A virtual environment of a lock. Nothing of what is installed is run: wheels alone, unpacked by uv."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from _model_spec import lock_lines, lock_problems
from packaging.requirements import InvalidRequirement, Requirement

from mlops_runtime.image_builder.errors import BuildError

SERVER: Final = "/opt/server"
"""Where a model's image has the server's own packages: what both hold comes from the model's lock."""
_TOLD: Final = 1500
_BEAT_SECONDS: Final = 5.0


def check(lock: str) -> None:
    """Whether the lock names packages by name, version and hash, and nothing else. Raises BuildError.

    What names files or addresses would have them read from here, where secrets lie.
    """
    problems = lock_problems(lock)
    for line in [] if problems else lock_lines(lock):
        text = line.partition(" --hash=")[0]
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            problems.append(f"has the line {text[:80]!r}, which is no requirement")
            break
        if requirement.url:
            problems.append(f"names an address for {requirement.name}; packages come from the site's index")
            break
    if problems:
        raise BuildError(f"its lock {problems[0]}")


def install(
    lock: str, directory: Path, environment: Mapping[str, str], seconds: float, alive: Callable[[], None]
) -> Path:
    """The environment, in a new directory below `directory`. `alive` is called while it goes on. Raises BuildError."""
    venv, file = directory / "venv", directory / "requirements.txt"
    shutil.rmtree(venv, ignore_errors=True)
    file.write_text("\n".join(lock_lines(lock)) + "\n")
    uv, python = shutil.which("uv") or "uv", str(Path(sys.executable).resolve())
    run = _Commands(directory, environment, time.monotonic() + seconds, alive)
    run([uv, "venv", "--quiet", "--relocatable", "--python", python, str(venv)])
    run([uv, "pip", "sync", "--quiet", "--python", str(venv), "--require-hashes", "--only-binary", ":all:", str(file)])
    places = list(venv.glob("lib/python*/site-packages"))
    if len(places) != 1:
        raise BuildError(f"uv made an environment with {len(places)} directories of packages")
    if not any(places[0].glob("numpy-*.dist-info")):
        raise BuildError("its lock holds no numpy; Seldon's contract is made of its arrays")
    (places[0] / "zz_mlops_server.pth").write_text(f"{SERVER}\n")
    # By this Python, not by the environment's: that would run what its packages have begun with.
    compiled = ["-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", str(venv / "lib")]
    run([python, "-I", *compiled], may_fail=True)
    return venv


class _Commands:
    """Commands with the site's index and proxies and little else, until a deadline."""

    def __init__(
        self, directory: Path, environment: Mapping[str, str], deadline: float, alive: Callable[[], None]
    ) -> None:
        self._environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(directory),
            "TMPDIR": str(directory),
            "UV_NO_CACHE": "1",
            "UV_LINK_MODE": "copy",
            "UV_NO_MANAGED_PYTHON": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            **environment,
        }
        self._output = directory / "output"
        self._deadline = deadline
        self._alive = alive

    def __call__(self, command: Sequence[str], *, may_fail: bool = False) -> None:
        """Raises BuildError with what the command said last."""
        with self._output.open("w+") as output:
            process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
            status = self._wait(process)
            output.seek(0)
            said = output.read()
        if status is None:
            raise BuildError(f"{Path(command[0]).name} took too long: {shown(said)}")
        if status and not may_fail:
            raise BuildError(f"its packages can't be installed: {shown(said)}")

    def _wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """The command's status; None where it had to be ended."""
        try:
            while time.monotonic() < self._deadline:
                self._alive()
                try:
                    return process.wait(_BEAT_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return None


def shown(said: str) -> str:
    """The end of what a command said, on one line, without users and passwords of addresses."""
    text = " ".join(re.sub(r"(?<=://)[^/@\s]*@", "", said).split())
    return text if len(text) <= _TOLD else f"... {text[-_TOLD:]}"
