# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Programs that are built from Go modules, once: kept in a directory of the cache that is named after their sources."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from nodes import CHECKOUT, BedError, run

OLDEST_GO = (1, 24)


def say(text: str) -> None:
    print(f"testbed: {text}", file=sys.stderr, flush=True)


def place(name: str, sources: Iterable[Path]) -> Path:
    """Where what is built from these files is kept."""
    content = hashlib.sha256(platform.machine().encode())
    for path in sources:
        content.update(f"{path.name}\0".encode() + path.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops-onprem"
    return Path(os.environ.get("MLOPS_CACHE") or cache) / f"{name}-{content.hexdigest()[:16]}"


def make_once(built: Path, make: Callable[[Path], None]) -> Path:
    """The directory `built`; where it isn't there yet, `make` fills it, and nobody sees a half of it."""
    if built.exists():
        return built
    built.parent.mkdir(parents=True, exist_ok=True)
    with built.with_name(f"{built.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process builds {built.name}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            new = Path(tempfile.mkdtemp(prefix=f"{built.name}.", dir=built.parent))
            try:
                make(new)
                new.chmod(0o755)
                new.rename(built)
            finally:
                shutil.rmtree(new, ignore_errors=True)
    return built


def go(what: str, *arguments: str, cwd: Path, **environment: str) -> list[str]:
    """What `go` says, in lines; every twenty seconds it is said how far it is. Raises BedError with its last lines."""
    compiler = _compiler()
    begun = last = time.monotonic()
    output: list[str] = []
    with subprocess.Popen(
        ["nice", compiler, *arguments],
        cwd=cwd,
        # What it starts finds the same compiler.
        env={**os.environ, "GOWORK": "off", "PATH": f"{Path(compiler).parent}:{os.environ['PATH']}", **environment},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout
        for line in process.stdout:
            output.append(line.rstrip())
            if time.monotonic() - last > 20:
                last = time.monotonic()
                say(f"{last - begun:.0f} s, {len(output)} modules and packages; now {output[-1]}")
    if process.returncode:
        raise BedError(f"{what} can't be built; go's last lines:\n" + "\n".join(output[-15:]))
    return output


def _compiler() -> str:
    """One that is new enough: this machine's, or one of PyPI."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if candidate and Path(candidate).exists():
            answer = run(candidate, "env", "GOVERSION", check=False, env={**os.environ, "GOTOOLCHAIN": "local"}).stdout
            found = re.match(r"go(\d+)\.(\d+)", answer)
            if found and (int(found[1]), int(found[2])) >= OLDEST_GO:
                return candidate
    environment = run(str(CHECKOUT / "bin" / "python-env"), "go").stdout.strip()
    return f"{environment}/bin/go"
