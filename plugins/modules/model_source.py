#!/usr/bin/python
# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: model_source
short_description: Make a model's files by the command that its declaration names
version_added: 0.1.0
description:
  - Runs O(command) in O(directory), as a rule of C(make) does, and checks that it made what it should.
  - With O(requirements), the command finds its C(python) in a virtual environment with exactly what that lock names.
    It is made once per lock, by C(uv) where it is found and by C(pip) where not, in the user's cache.
  - Whether it has to run at all is for the caller to know (filter P(mlops.onprem.model_plan#filter)).
    The file O(stamp) is written last, so that a preparation that was interrupted runs again.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: none
options:
  name:
    description: The model's name, for messages.
    type: str
    required: true
  directory:
    description: Where the command runs.
    type: path
    required: true
  command:
    description: The command and its arguments; no shell.
    type: list
    elements: str
    required: true
  requirements:
    description: A lock file with hashes. Empty runs the command in the environment of the caller.
    type: path
  environment:
    description: Variables that the command is given beside those of the caller.
    type: dict
    default: {}
  python_path:
    description: Directories that the command's Python finds modules in, before those that the caller's has.
    type: list
    elements: path
    default: []
  outputs:
    description: Files and directories that have to exist afterwards.
    type: list
    elements: path
    default: []
  stamp:
    description: The file that says what the outputs came from.
    type: path
    required: true
  digest:
    description: What to write into O(stamp).
    type: str
    required: true
  why:
    description: Why it has to run; comes back in the result.
    type: str
  timeout:
    description: Seconds that the command may take.
    type: int
    default: 1800
  cache:
    description: Directory of the environments; by default E(MLOPS_CACHE), or C(mlops-onprem) in the user's cache.
    type: path
author:
  - The mlops.onprem authors (@mlops-onprem)
"""

EXAMPLES = r"""
- name: Train the model
  mlops.onprem.model_source:
    name: phishing
    directory: /srv/models/phishing
    command: [python, train.py]
    requirements: /srv/models/phishing/requirements-train.txt
    environment: {MLOPS_DETECTORS: '["ewma"]'}
    python_path: [/srv/mlops.onprem/runtime/src]
    outputs: [/srv/models/phishing/build/model]
    stamp: /srv/models/phishing/build/model.prepared
    digest: 8c1f64dbf1f9a6d0
  delegate_to: localhost
"""

RETURN = r"""
log:
  description: The last lines that the command printed.
  returned: when it ran
  type: list
  elements: str
why:
  description: Why it ran.
  returned: success
  type: str
environment:
  description: The virtual environment that the command ran in, empty where it has none.
  returned: when it ran
  type: str
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

LOG_LINES = 30


class Failed(Exception):
    """What went wrong, with the last lines of what was running."""

    def __init__(self, message: str, log: list[str]) -> None:
        super().__init__(message)
        self.log = log


def run(command: list[str], *, directory: Path, environment: dict[str, str], timeout: int) -> list[str]:
    """Runs a command with all that it starts; returns the last lines that it printed."""
    try:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise Failed(f"{command[0]} can't be started in {directory}: {error.strerror}", []) from error
    try:
        output = process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        output = process.communicate()[0]
        raise Failed(f"{' '.join(command)} took longer than {timeout} seconds", last_lines(output)) from error
    if process.returncode:
        raise Failed(f"{' '.join(command)} ended with {process.returncode}", last_lines(output))
    return last_lines(output)


def last_lines(output: str) -> list[str]:
    return list(deque((line.rstrip() for line in output.splitlines() if line.strip()), maxlen=LOG_LINES))


def base_python() -> str:
    """The interpreter behind the virtual environment that this module may run in."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def uv() -> list[str]:
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    return [found] if found else []


def make_environment(lock: Path, cache: Path, timeout: int) -> Path:
    """The virtual environment of a lock; one that was made before is taken as it is."""
    python = base_python()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256(lock.read_bytes() + f"{python} {version}".encode()).hexdigest()[:12]
    target = cache / f"model-py{version}-{key}"
    complete = target / ".complete"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f"{target.name}.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if complete.exists():
            return target
        shutil.rmtree(target, ignore_errors=True)
        environment = dict(os.environ)
        tool = uv()
        if tool:
            run(
                [*tool, "venv", "--quiet", "--python", python, str(target)],
                directory=cache,
                environment=environment,
                timeout=timeout,
            )
            install = [
                *tool,
                "pip",
                "sync",
                "--quiet",
                "--require-hashes",
                "--python",
                str(target / "bin/python"),
                str(lock),
            ]
        else:
            run([python, "-m", "venv", str(target)], directory=cache, environment=environment, timeout=timeout)
            install = [str(target / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            install += ["--require-hashes", "--requirement", str(lock)]
        run(install, directory=cache, environment=environment, timeout=timeout)
        complete.touch()
    return target


def default_cache() -> Path:
    if os.environ.get("MLOPS_CACHE"):
        return Path(os.environ["MLOPS_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops-onprem"


def command_environment(params: dict[str, object]) -> dict[str, str]:
    """The caller's variables with those that are given, and with the directories that modules are found in."""
    given = {str(name): str(value) for name, value in params["environment"].items()}  # type: ignore[attr-defined]
    environment = {**os.environ, **given}
    found = [str(path) for path in params["python_path"]]  # type: ignore[attr-defined]
    if found:
        environment["PYTHONPATH"] = os.pathsep.join([*found, *filter(None, [environment.get("PYTHONPATH")])])
    return environment


def prepare(params: dict[str, object], directory: Path) -> tuple[list[str], str]:
    """Runs the command; returns what it printed last and its environment."""
    command = [str(part) for part in params["command"]]  # type: ignore[attr-defined]
    timeout = int(str(params["timeout"]))
    environment = command_environment(params)
    made = ""
    if params["requirements"]:
        cache = Path(str(params["cache"])) if params["cache"] else default_cache()
        made = str(make_environment(Path(str(params["requirements"])), cache, timeout))
        environment |= {"VIRTUAL_ENV": made, "PATH": f"{made}/bin:{environment.get('PATH', os.defpath)}"}
        environment.pop("PYTHONHOME", None)
        # Found here, not by Popen, which would look along the caller's PATH.
        command[0] = shutil.which(command[0], path=environment["PATH"]) or command[0]
    stamp = Path(str(params["stamp"]))
    stamp.unlink(missing_ok=True)
    log = run(command, directory=directory, environment=environment, timeout=timeout)
    missing = [output for output in params["outputs"] if not Path(output).exists()]  # type: ignore[attr-defined]
    if missing:
        raise Failed(f"{' '.join(command)} ended well but did not make {', '.join(missing)}", log)
    stamp.write_text(f"{params['digest']}\n", encoding="utf-8")
    return log, made


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "command": {"type": "list", "elements": "str", "required": True},
            "requirements": {"type": "path"},
            "environment": {"type": "dict", "default": {}},
            "python_path": {"type": "list", "elements": "path", "default": []},
            "outputs": {"type": "list", "elements": "path", "default": []},
            "stamp": {"type": "path", "required": True},
            "digest": {"type": "str", "required": True},
            "why": {"type": "str"},
            "timeout": {"type": "int", "default": 1800},
            "cache": {"type": "path"},
        },
        supports_check_mode=True,
    )
    name = module.params["name"]
    if module.check_mode:
        module.exit_json(changed=True, why=module.params["why"])
    try:
        log, environment = prepare(module.params, Path(module.params["directory"]))
    except Failed as error:
        shown = "\n".join(error.log)
        module.fail_json(
            msg=f"Model {name} can't be prepared: {error}" + (f"\n{shown}" if shown else ""), log=error.log
        )
    except OSError as error:
        module.fail_json(msg=f"Model {name} can't be prepared: {error}")
    module.exit_json(changed=True, log=log, environment=environment, why=module.params["why"])


if __name__ == "__main__":
    main()
