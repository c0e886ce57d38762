# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's process: found, started, reloaded, restarted, whatever looks after processes on the host."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .._errors import InputError
from .api import Engine

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PID_FILE = Path("/var/run/docker.pid")
CONTAINERD_PID_FILE = Path("/var/run/docker/containerd/containerd.pid")
LOG_FILE = Path("/var/log/docker.log")
INIT_SCRIPT = Path("/etc/init.d/docker")
INIT_PID_FILE = Path("/var/run/docker-ssd.pid")
# Under /run, so that it ends with the engine that it tells of.
PENDING_FILE = Path("/run/mlops-docker-restart.json")
LOG_LINES = 15


class StartError(Exception):
    """The engine doesn't start; the message ends with what it logged."""


def find_program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SEARCH_PATH}")


def has_systemd() -> bool:
    """As sd_booted(3) finds out."""
    return Path("/run/systemd/system").is_dir()


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def engine_pid() -> int | None:
    """The running engine's process, from its pid file."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(PID_FILE.read_text())
        if _alive(pid) and Path(f"/proc/{pid}/comm").read_text().strip() == "dockerd":
            return pid
    return None


def engine_arguments() -> list[str]:
    pid = engine_pid()
    if pid is None:
        return []
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []


def _engine_identity() -> str:
    """A process number comes again; with its start time it doesn't."""
    pid = engine_pid()
    if pid is None:
        return ""
    with contextlib.suppress(OSError):
        return f"{pid}:{Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]}"
    return ""


def read_pending() -> list[str]:
    """The options that the running engine has been waiting for a restart to take over."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        value = json.loads(PENDING_FILE.read_text())
        if value["engine"] == _engine_identity():
            return [str(key) for key in value["options"]]
    return []


def write_pending(options: list[str]) -> None:
    if options:
        PENDING_FILE.write_text(json.dumps({"engine": _engine_identity(), "options": options}))
    else:
        PENDING_FILE.unlink(missing_ok=True)


def wait_for_engine(engine: Engine, timeout: float, still_possible: Callable[[], bool] = lambda: True) -> bool:
    deadline = time.monotonic() + timeout
    while not engine.answers():
        if time.monotonic() > deadline or not still_possible():
            return engine.answers()
        time.sleep(0.2)
    return True


def start(engine: Engine, environment: Mapping[str, str], timeout: float) -> tuple[str, list[str]]:
    """Start the engine.

    :returns: how it was started (systemd, init script, by hand), and what the operator should know.
    :raises StartError: if it doesn't answer within ``timeout`` seconds.
    """
    program = find_program("dockerd")
    if program is None:
        raise InputError("Docker is installed but dockerd isn't found")
    if has_systemd():
        _systemctl("daemon-reload")
        _systemctl("enable", "--now", "docker.service")
        if not wait_for_engine(engine, timeout):
            raise StartError(f"Docker doesn't answer within {timeout:g} s; its journal ends:\n{_journal()}")
        return "systemd", []
    notes = []
    if INIT_SCRIPT.exists():
        done = subprocess.run(
            [str(INIT_SCRIPT), "start"], env={**os.environ, **environment}, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=timeout,
        )  # fmt: skip
        if done.returncode == 0 and wait_for_engine(engine, timeout, _init_watch()):
            return "init script", []
        notes.append(f"{INIT_SCRIPT} start failed: {' '.join(done.stdout.split()) or f'exit code {done.returncode}'}")
    _start_by_hand(program, engine, environment, timeout)
    notes.append(
        "Docker was started by hand, since this host has no systemd"
        + (" and its init script fails" if notes else "")
        + ": nothing starts it again after a reboot. Run this playbook then, or start dockerd from the host's own init."
    )
    return "by hand", notes


def _init_watch() -> Callable[[], bool]:
    """Whether what the init script started still runs; it gets two seconds to leave its pid file."""
    begun = time.monotonic()

    def alive() -> bool:
        if engine_pid() is not None:
            return True
        with contextlib.suppress(OSError, ValueError):
            return _alive(int(INIT_PID_FILE.read_text()))
        return time.monotonic() - begun < 2.0

    return alive


def _start_by_hand(program: str, engine: Engine, environment: Mapping[str, str], timeout: float) -> None:
    if engine_pid() is None:
        # The number may belong to another process by now, and the engine would refuse to start.
        PID_FILE.unlink(missing_ok=True)
        _forget_containerd()

    def raise_limits() -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    log = LOG_FILE.open("a")
    path = f"{os.environ.get('PATH', '')}:{SEARCH_PATH}"
    process = subprocess.Popen(
        [program], cwd="/", env={**os.environ, "PATH": path, **environment}, stdin=subprocess.DEVNULL, stdout=log,
        stderr=log, start_new_session=True, preexec_fn=raise_limits,
    )  # fmt: skip
    if not wait_for_engine(engine, timeout, lambda: process.poll() is None):
        ended = "ended" if process.poll() is not None else f"doesn't answer within {timeout:g} s"
        raise StartError(f"{program} {ended}; {LOG_FILE} ends:\n{_tail(LOG_FILE)}")


def _forget_containerd() -> None:
    """What is left of a killed engine's containerd, which dies with it: a new engine would wait for it in vain."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(CONTAINERD_PID_FILE.read_text())
        deadline = time.monotonic() + 5
        while _alive(pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        # A zombie that nobody waits for counts as running for the engine, too.
        if not _alive(pid):
            CONTAINERD_PID_FILE.unlink(missing_ok=True)


def reload() -> None:
    """Let the engine read its option file again; containers and the Swarm don't notice."""
    pid = engine_pid()
    if pid is not None:
        os.kill(pid, signal.SIGHUP)


def restart(engine: Engine, environment: Mapping[str, str], timeout: float) -> tuple[str, list[str]]:
    """Restart the engine: its containers stop, and start again as their restart policies say."""
    if has_systemd():
        _systemctl("daemon-reload")
        _systemctl("restart", "docker.service")
        if not wait_for_engine(engine, timeout):
            raise StartError(f"Docker doesn't answer within {timeout:g} s; its journal ends:\n{_journal()}")
        return "systemd", []
    pid = engine_pid()
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout
        while _alive(pid):
            if time.monotonic() > deadline:
                raise StartError(
                    f"dockerd (process {pid}) doesn't end within {timeout:g} s; {LOG_FILE} ends:\n{_tail(LOG_FILE)}"
                )
            time.sleep(0.2)
    return start(engine, environment, timeout)


def _systemctl(*arguments: str) -> None:
    done = subprocess.run(["systemctl", *arguments], text=True, capture_output=True, check=False, timeout=300)
    if done.returncode:
        raise StartError(
            f"systemctl {' '.join(arguments)}: {done.stderr.strip()}\nDocker's journal ends:\n{_journal()}"
        )


def _journal() -> str:
    command = ["journalctl", "--unit=docker", f"--lines={LOG_LINES}", "--no-pager", "--output=cat"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, text=True, capture_output=True, check=False, timeout=20).stdout.strip()
    return ""


def _tail(path: Path) -> str:
    with contextlib.suppress(OSError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-LOG_LINES:])
    return ""


def proxies_of(info: Mapping[str, Any]) -> dict[str, str]:
    """The proxies that the running engine uses, by the names of the environment."""
    names = {"HTTP_PROXY": "HttpProxy", "HTTPS_PROXY": "HttpsProxy", "NO_PROXY": "NoProxy"}
    return {name: str(info.get(key) or "") for name, key in names.items()}
