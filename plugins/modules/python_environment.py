#!/usr/bin/python
# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: python_environment
short_description: A Python environment that a lock describes
version_added: 0.1.0
description:
  - Makes a virtual environment with exactly the packages of a lock with hashes, once per lock.
  - An environment whose lock or Python has changed, or whose making was broken off, is made anew.
  - Needs Python 3.11 or newer on the host; installs its C(venv) package on Debian and Ubuntu where that is missing.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: full
options:
  path:
    description: Where the environment is.
    type: path
    required: true
  state:
    description: Whether the environment is to be there.
    type: str
    choices: [present, absent]
    default: present
  requirements:
    description:
      - The lock's text, with hashes (as C(uv pip compile --generate-hashes) prints it). Required for V(present).
    type: str
    default: ""
  ca_bundle:
    description: PEM text of the certificates that the package index is trusted by, instead of the system's.
    type: str
    default: ""
  index_url:
    description: The package index; the host's own setting where empty. May hold credentials.
    type: str
    default: ""
author:
  - The mlops.onprem authors (@mlops-onprem)
"""

EXAMPLES = r"""
- name: Give the manager what the modules import
  mlops.onprem.python_environment:
    path: /opt/mlops/venv
    requirements: "{{ lookup('ansible.builtin.file', 'requirements/host.txt') }}"
"""

RETURN = r"""
python:
  description: The environment's interpreter.
  type: str
  returned: success
  sample: /opt/mlops/venv/bin/python
"""

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._docker import packages, service
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError

MINIMUM = (3, 11)
LOCK = ".mlops-lock"


def find_python() -> tuple[str, str]:
    """The newest suitable interpreter and its version, the one that runs this module first."""
    if sys.version_info >= MINIMUM and sys.prefix == sys.base_prefix:
        return sys.executable, f"{sys.version_info[0]}.{sys.version_info[1]}"
    for minor in range(15, MINIMUM[1] - 1, -1):
        program = service.find_program(f"python3.{minor}")
        if program:
            return program, f"3.{minor}"
    raise InputError(
        "this host has no Python 3.11 or newer: install one (python3.11 and python3.11-venv on Ubuntu 22.04)"
    )


def run(module: AnsibleModule, *command: str, environment: dict[str, str] | None = None) -> None:
    status, output, errors = module.run_command(list(command), environ_update=environment)
    if status:
        lines = (errors.strip() or output.strip()).splitlines()
        # pip says the same at each of its attempts.
        told = [
            line
            for line, following in zip(lines, [*lines[1:], ""], strict=True)
            if "Retrying" not in line or "Retrying" not in following
        ]
        ending = "\n".join(told[-10:])
        raise InputError(
            f"{' '.join(command[:4])} ... failed (mlops_pip_index_url, mlops_ca_bundle may want setting):\n{ending}"
        )


def build(module: AnsibleModule, path: Path, python: str, version: str, lock: str) -> None:
    if module.run_command([python, "-c", "import ensurepip, venv"])[0]:
        packages.install([f"python{version}-venv"])
    path.parent.mkdir(parents=True, exist_ok=True)
    # Scripts in an environment name its path, so it is made in place; the marker comes last.
    run(module, python, "-m", "venv", "--clear", str(path))
    with tempfile.TemporaryDirectory(prefix="mlops-") as directory:
        requirements = Path(directory, "requirements.txt")
        requirements.write_text(module.params["requirements"], encoding="utf-8")
        environment = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
        if module.params["ca_bundle"]:
            certificates = Path(directory, "ca.pem")
            certificates.write_text(module.params["ca_bundle"], encoding="utf-8")
            # pip's own setting gives way to those of the library below it.
            for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
                environment[name] = str(certificates)
        if module.params["index_url"]:
            environment["PIP_INDEX_URL"] = module.params["index_url"]
        run(
            module,
            *(f"{path}/bin/python", "-m", "pip", "install", "--quiet", "--require-hashes"),
            *("--only-binary", ":all:", "--requirement", str(requirements)),
            environment=environment,
        )
    (path / LOCK).write_text(lock, encoding="utf-8")


def converge(module: AnsibleModule) -> dict[str, Any]:
    path = Path(module.params["path"])
    marker = path / LOCK
    before = marker.read_text(encoding="utf-8") if marker.exists() else ""
    result: dict[str, Any] = {"python": f"{path}/bin/python"}
    if module.params["state"] == "absent":
        result |= {"changed": path.exists(), "diff": {"before": before, "after": ""}}
        if path.exists() and not module.check_mode:
            if path.is_symlink() or os.path.ismount(path):
                raise InputError(f"path: {path} is no environment that was made here")
            shutil.rmtree(path)
        return result
    if not module.params["requirements"].strip():
        raise InputError("requirements: must hold the lock's text")
    python, version = find_python()
    lock = f"Python {version}, lock {hashlib.sha256(module.params['requirements'].encode()).hexdigest()}\n"
    result |= {"changed": before != lock, "diff": {"before": before, "after": lock}}
    if before != lock and not module.check_mode:
        if path.exists() and any(path.iterdir()) and not (path / "pyvenv.cfg").exists():
            raise InputError(f"path: {path} is there and is no Python environment")
        build(module, path, python, version, lock)
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"choices": ["present", "absent"], "default": "present"},
            "requirements": {"default": ""},
            "ca_bundle": {"default": ""},
            "index_url": {"default": "", "no_log": True},
        },
        supports_check_mode=True,
    )
    try:
        result = converge(module)
    except InputError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
