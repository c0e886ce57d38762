#!/usr/bin/python
# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_engine
short_description: A host's Docker engine, installed, set up and running
version_added: 0.1.0
description:
  - Installs Docker Engine where it is missing, merges options into its option file, and starts it with systemd, with
    its init script, or by hand where neither works.
  - An engine that runs is left alone. Options that it takes over while it runs are reloaded; for the others it is
    restarted where that stops nothing, or on request. Until then the result says so.
  - Needs nothing but Python and root on the host.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: full
options:
  state:
    description:
      - Whether the engine is to run with the options. V(absent) takes the options out of the file again, and
        leaves Docker itself installed and running.
    type: str
    choices: [present, absent]
    default: present
  packages:
    description: What to install where no engine is found.
    type: list
    elements: str
    default: [docker.io]
  optional_packages:
    description: What to install along with it, as far as the host's package sources have it.
    type: list
    elements: str
    default: []
  minimum_version:
    description: An engine older than this is refused.
    type: str
    default: "20.10"
  options:
    description:
      - Options of the engine, as in C(daemon.json). They are merged into the file; keys that aren't named here
        stay as they are, and those that were once named here and aren't any more go.
      - Those that the running engine was given as flags are left out, since it would refuse to start with both.
    type: dict
    default: {}
  keep_options:
    description:
      - Leave options that were once named here and aren't any more. Another platform on the host may have set them.
    type: bool
    default: false
  log_options:
    description:
      - Options of the C(json-file) log driver, so that logs rotate. Where the file names another log driver, that
        one stays.
    type: dict
    default: {}
  environment:
    description:
      - Environment variables of the engine, such as C(HTTP_PROXY). Values may hold credentials; they aren't shown.
    type: dict
    default: {}
  restart:
    description: Restart a running engine for options that need it, even if its containers stop meanwhile.
    type: bool
    default: false
  timeout:
    description: Seconds that the engine has to answer after a start.
    type: float
    default: 90
  config_file:
    description: The engine's option file.
    type: path
    default: /etc/docker/daemon.json
  socket:
    description: The engine's socket.
    type: path
    default: /var/run/docker.sock
author:
  - The mlops.onprem authors (@mlops-onprem)
"""

EXAMPLES = r"""
- name: Run Docker, with logs that rotate
  mlops.onprem.docker_engine:
    log_options:
      max-size: 10m
      max-file: "3"
"""

RETURN = r"""
installed:
  description: Whether an engine is installed, or would be.
  type: bool
  returned: success
version:
  description: The engine's version; empty in check mode on a host without one.
  type: str
  returned: success
running:
  description: Whether the engine answers.
  type: bool
  returned: success
started_by:
  description: How the engine was started (systemd, init script, by hand); empty where it ran already.
  type: str
  returned: success
restart_pending:
  description: Options that the running engine takes over at its next restart only.
  type: list
  elements: str
  returned: success
swarm:
  description: The engine's membership of a Swarm.
  type: dict
  returned: success
  contains:
    state:
      description: One of inactive, pending, active, error, locked.
      type: str
    node_id:
      description: The node's id.
      type: str
    address:
      description: The node's address in the Swarm.
      type: str
    manager:
      description: Whether the node is a manager.
      type: bool
    cluster_id:
      description: The Swarm's id, on managers.
      type: str
    managers:
      description: Addresses of the managers, with ports.
      type: list
      elements: str
    error:
      description: Why the node isn't active.
      type: str
"""

import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._docker import (
    options as option_file,
)
from ansible_collections.mlops.onprem.plugins.module_utils._docker import (
    packages,
    service,
)
from ansible_collections.mlops.onprem.plugins.module_utils._docker.api import (
    NO_SWARM,
    Engine,
    read_swarm,
    version_tuple,
)
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError, RequestError

DROP_IN = Path("/etc/systemd/system/docker.service.d/mlops-environment.conf")


class Host:
    """The engine as it is: read once, before anything is compared."""

    def __init__(self, module: AnsibleModule, engine: Engine) -> None:
        self.program = service.find_program("dockerd")
        self.running = engine.answers()
        self.info: dict[str, Any] = engine.info() if self.running else {}
        self.version = str(self.info.get("ServerVersion") or self._installed_version(module))
        self.pending = service.read_pending()

    @property
    def installed(self) -> bool:
        return self.running or self.program is not None

    @property
    def busy(self) -> bool:
        """Whether a restart would stop something."""
        return read_swarm(self.info).state != "inactive" or bool(self.info.get("ContainersRunning"))

    def _installed_version(self, module: AnsibleModule) -> str:
        if self.program is None:
            return ""
        found = re.search(r"version ([^\s,]+)", module.run_command([self.program, "--version"])[1])
        return found.group(1) if found else ""


def drop_in_text(environment: dict[str, str]) -> str:
    def quoted(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")

    lines = [f'Environment="{name}={quoted(value)}"' for name, value in sorted(environment.items())]
    return "\n".join(["# Written by mlops.onprem.", "[Service]", *lines, ""]) if environment else ""


def read_drop_in() -> str:
    return DROP_IN.read_text(encoding="utf-8") if DROP_IN.exists() else ""


def write_file(module: AnsibleModule, path: Path, text: str, mode: int) -> None:
    """Replace a file at once; an empty text removes it."""
    if not text:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.mlops")
    staged.touch(mode=mode)
    staged.write_text(text, encoding="utf-8")
    staged.chmod(path.stat().st_mode & 0o777 if path.exists() else mode)
    module.atomic_move(str(staged), str(path))


def proxies_differ(info: dict[str, Any], environment: dict[str, str]) -> bool:
    def bare(address: str) -> str:
        return re.sub(r"//[^/@]*@", "//", address)

    live = service.proxies_of(info)
    return any(name in live and bare(live[name]) != bare(value) for name, value in environment.items())


def converge(module: AnsibleModule) -> dict[str, Any]:
    parameters = module.params
    engine = Engine(parameters["socket"])
    config_file = Path(parameters["config_file"])
    environment = {name: str(value) for name, value in parameters["environment"].items()}
    log_options = {name: str(value) for name, value in parameters["log_options"].items()}
    wanted = parameters["state"] == "present"

    host = Host(module, engine)
    if wanted and host.version and version_tuple(host.version) < version_tuple(parameters["minimum_version"]):
        raise InputError(
            f"Docker {host.version} on this host is older than {parameters['minimum_version']}: "
            "upgrade it, or remove it so that it is installed anew"
        )
    existing = option_file.read(config_file)
    record_file = config_file.with_name(f".mlops-{config_file.name}")
    # What was set here once and isn't wanted any more goes.
    operators = option_file.without(existing, option_file.read(record_file))
    plan, drop_in = option_file.OptionsPlan(existing, operators), ""
    if wanted:
        given = option_file.flags(service.engine_arguments())
        base = existing if parameters["keep_options"] else operators
        merged = option_file.merged(base, parameters["options"], log_options, given)
        plan = option_file.OptionsPlan(existing, merged.after, merged.skipped)
        drop_in = drop_in_text(environment) if service.has_systemd() else ""
    drop_in_changes = read_drop_in() != drop_in
    install, start = wanted and not host.installed, wanted and not host.running
    waiting = set(host.pending)
    if host.running:
        waiting |= set(plan.awaiting_restart)
    if host.running and (drop_in_changes or (wanted and proxies_differ(host.info, environment))):
        waiting.add("environment")
    restart = host.running and bool(waiting) and (parameters["restart"] or not host.busy)
    result: dict[str, Any] = {
        "changed": bool(plan.changed or drop_in_changes or install or start or restart),
        "diff": {
            "before": {"installed": host.installed, "running": host.running, "options": plan.before},
            "after": {"installed": host.installed or install, "running": host.running or start, "options": plan.after},
        },
        "installed": host.installed or install,
        "started_by": "",
    }
    if drop_in_changes:
        result["diff"]["before"]["environment"] = "(hidden)"
        result["diff"]["after"]["environment"] = "(hidden, changed)"
    warnings = [
        f"{config_file}: {key} is left as it is, since dockerd was started with a flag of that meaning"
        for key in plan.skipped
    ]

    if module.check_mode:
        pending = [] if restart else sorted(waiting)
        warnings += pending_warnings(pending)
        return result | {"warnings": warnings} | _state(host.info, host.version, host.running, pending)

    if plan.changed:
        write_file(module, config_file, option_file.write_text(plan.after), 0o644)
    record = option_file.added(operators, plan.after)
    if record != option_file.read(record_file):
        write_file(module, record_file, option_file.write_text(record), 0o644)
    if drop_in_changes:
        # It may hold a proxy's password.
        write_file(module, DROP_IN, drop_in, 0o600)
    if install:
        packages.install(parameters["packages"], parameters["optional_packages"])
    timeout = parameters["timeout"]
    if wanted and not engine.answers():
        result["started_by"], notes = service.start(engine, environment, timeout)
        warnings += notes
    elif restart:
        result["started_by"], notes = service.restart(engine, environment, timeout)
        warnings += notes
        service.write_pending([])
    elif host.running:
        if plan.reloaded:
            service.reload()
        service.write_pending(sorted(waiting))
    if not wanted and not engine.answers():
        return result | {"warnings": warnings} | _state({}, host.version, False, [])
    info = engine.info()
    pending = service.read_pending()
    warnings += pending_warnings(pending)
    return result | {"warnings": warnings} | _state(info, str(info.get("ServerVersion", "")), True, pending)


def pending_warnings(pending: list[str]) -> list[str]:
    if not pending:
        return []
    return [
        f"Docker goes on running with its former {', '.join(pending)} until it is restarted: set "
        "host_docker_restart: true, or restart it when that suits you (containers on this host stop meanwhile)"
    ]


def _state(info: dict[str, Any], version: str, running: bool, pending: list[str]) -> dict[str, Any]:
    swarm = read_swarm(info) if info else NO_SWARM
    return {"version": version, "running": running, "restart_pending": pending, "swarm": swarm.facts()}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["present", "absent"], "default": "present"},
            "packages": {"type": "list", "elements": "str", "default": ["docker.io"]},
            "optional_packages": {"type": "list", "elements": "str", "default": []},
            "minimum_version": {"default": "20.10"},
            "options": {"type": "dict", "default": {}},
            "keep_options": {"type": "bool", "default": False},
            "log_options": {"type": "dict", "default": {}},
            "environment": {"type": "dict", "default": {}, "no_log": True},
            "restart": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 90},
            "config_file": {"type": "path", "default": "/etc/docker/daemon.json"},
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
        },
        supports_check_mode=True,
    )
    try:
        result = converge(module)
    except (InputError, RequestError, service.StartError) as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
