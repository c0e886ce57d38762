#!/usr/bin/python
# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_trust
short_description: Have what pulls images on a host trust a registry
version_added: 0.1.0
description:
  - Writes the CA's certificate where Docker looks at each pull, and with C(hosts.toml) where containerd does.
  - Nothing is restarted by that.
  - Where containerd's option file names no such place, says what it lacks, or adds it and restarts containerd.
  - Needs nothing but Python and root on the host.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: full
options:
  registry:
    description: Host and port of the registry, as images' references name it.
    type: str
    required: true
  ca:
    description: PEM text of the CA that its certificate is trusted by. Required for V(present).
    type: str
    default: ""
  engines:
    description: Those of this host that are to trust it.
    type: list
    elements: str
    choices: [docker, containerd]
    default: [containerd]
  state:
    description: Whether the registry is trusted.
    type: str
    choices: [present, absent]
    default: present
  directory:
    description:
      - Write containerd's files below this directory and look at no engine, so that somebody can take them to nodes.
    type: path
  set_config_path:
    description: Add the place to containerd's option file where that names none, and restart containerd.
    type: bool
    default: false
  config_file:
    description: Containerd's option file.
    type: path
    default: /etc/containerd/config.toml
author:
  - The mlops.onprem authors (@mlops-onprem)
"""

EXAMPLES = r"""
- name: Trust the site's registry
  mlops.onprem.registry_trust:
    registry: 192.0.2.11:5000
    engines: [docker, containerd]
    ca: "{{ lookup('ansible.builtin.file', 'tls/ca.pem') }}"
"""

RETURN = r"""
problems:
  description: What keeps the host from pulling, with what to do.
  type: list
  elements: str
  returned: success
directories:
  description: Where the registry's files are.
  type: list
  elements: str
  returned: success
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._docker.service import find_program, has_systemd
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._host import containerd

DOCKER = Path("/etc/docker/certs.d")


class Node:
    """What containerd on this node reads."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.config_file = Path(module.params["config_file"])
        self.text = self.config_file.read_text(encoding="utf-8") if self.config_file.exists() else ""
        program = find_program("containerd")
        self.found = program is not None
        dumped = ""
        if program is not None:
            status, output, dummy = module.run_command([program, "--config", str(self.config_file), "config", "dump"])
            dumped = output if not status else ""
        self.options = containerd.read(dumped or self.text)
        self.make = next((file for place, file in containerd.MAKES.items() if Path(place).exists()), "")

    def problem(self) -> str:
        """Why the files wouldn't be read; empty if they are."""
        registry = self.module.params["registry"]
        if self.make:
            copied = f"{Path(self.make).parent}/{registry.replace(':', '_')}.crt"
            said = containerd.registries_yaml(registry, copied)
            return (
                f"this node's containerd is set up by {self.make}: copy the CA's certificate to {copied}, put\n{said}"
                "there, and restart the node's service"
            )
        if not self.found and not self.config_file.exists():
            return (
                f"no containerd was found here: have the node's container runtime trust {registry} by the CA's "
                f"certificate (CRI-O: as /etc/containers/certs.d/{registry}/ca.crt), or take the host out of "
                "mlops_workers"
            )
        if self.options.directory is None:
            added = "\n".join(containerd.lines(self.options.version))
            older = f" (its tables {', '.join(self.options.tables)} must go then)" if self.options.tables else ""
            how = "" if older else ", or set registry_containerd_config_path: true to have it done"
            return f"{self.config_file} has no config_path: add\n{added}\n{older}and restart containerd{how}"
        return ""


def converge(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    registry, present = params["registry"], params["state"] == "present"
    if present and not params["ca"].strip():
        raise InputError("ca: is empty, and without it there is nothing to trust the registry by")
    if params["directory"]:
        directory = Path(params["directory"])
        files = containerd.files(registry, params["ca"], directory, on_node=Path(containerd.CERTS))
        return _files(module, files if present else dict.fromkeys(files)) | {"problems": []}

    problems: list[str] = []
    wanted: dict[Path, str | None] = {}
    node = Node(module) if "containerd" in params["engines"] else None
    edited = node.text if node else ""
    if "docker" in params["engines"]:
        wanted[DOCKER / registry / "ca.crt"] = params["ca"] if present else None
    if node:
        problem = node.problem()
        if not present:
            edited = containerd.without_ours(node.text)
        elif problem and node.found and not node.make and not node.options.tables and params["set_config_path"]:
            edited = containerd.with_config_path(node.text)
        elif problem:
            problems.append(problem)
        files = containerd.files(registry, params["ca"], node.options.directory or Path(containerd.CERTS))
        wanted |= files if present and not problems else dict.fromkeys(files)
    result = _files(module, wanted)
    if node and edited != node.text:
        result["changed"] = True
        result["diff"]["before"][str(node.config_file)] = node.text
        result["diff"]["after"][str(node.config_file)] = edited
        if not module.check_mode:
            _write(node.config_file, edited)
            if present:
                problems += _restart(module)
    return result | {"problems": problems}


def _files(module: AnsibleModule, wanted: Mapping[Path, str | None]) -> dict[str, Any]:
    """Makes these files so, or has them gone where there is no text for them."""
    before = {file: file.read_text(encoding="utf-8") for file in wanted if file.exists()}
    after = {file: text for file, text in wanted.items() if text is not None}
    if not module.check_mode:
        for file in before.keys() - after.keys():
            file.unlink()
            with contextlib.suppress(OSError):  # somebody else may have put something there
                file.parent.rmdir()
        for file, text in after.items():
            if before.get(file) != text:
                _write(file, text)
    return {
        "changed": before != after,
        "diff": {
            "before": {str(file): text for file, text in before.items()},
            "after": {str(file): text for file, text in after.items()},
        },
        "directories": sorted({str(file.parent) for file in wanted}),
    }


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    staged = file.with_name(f".{file.name}.mlops")
    staged.write_text(text, encoding="utf-8")
    staged.chmod(file.stat().st_mode & 0o777 if file.exists() else 0o644)
    staged.replace(file)


def _restart(module: AnsibleModule) -> list[str]:
    """Containers go on running meanwhile."""
    if has_systemd():
        status, dummy, errors = module.run_command(["systemctl", "restart", "containerd"])
        if not status:
            return []
        return [f"containerd has its config_path now, but couldn't be restarted: {errors.strip()}"]
    return ["containerd has its config_path now, and must be restarted by hand: this host has no systemd"]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "registry": {"required": True},
            "ca": {"default": ""},
            "engines": {
                "type": "list",
                "elements": "str",
                "choices": ["docker", "containerd"],
                "default": ["containerd"],
            },
            "state": {"choices": ["present", "absent"], "default": "present"},
            "directory": {"type": "path"},
            "set_config_path": {"type": "bool", "default": False},
            "config_file": {"type": "path", "default": "/etc/containerd/config.toml"},
        },
        supports_check_mode=True,
    )
    try:
        result = converge(module)
    except InputError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
