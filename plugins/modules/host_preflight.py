#!/usr/bin/python
# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_preflight
short_description: Whether a host can carry the platform
version_added: 0.1.0
description:
  - Looks at a host before anything is touched (operating system, Python, kernel, memory, disk, ports, Docker), and
    returns all that is wrong at once.
  - Only reads. Needs nothing but Python on the host.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: none
options:
  host:
    description: The host's name, for messages.
    type: str
    required: true
  name:
    description: The platform's name; what it runs already isn't in its own way.
    type: str
    required: true
  target:
    description:
      - What the platform is to run on. On a manager, one of this name that runs on another target is a problem.
      - For V(kubernetes) the kernel needs nothing of what a Swarm takes.
    type: str
    choices: [swarm, kubernetes]
    default: swarm
  cluster:
    description: How a Kubernetes cluster is reached, to see whether the platform runs there.
    type: dict
    default: {}
    suboptions:
      kubeconfig:
        description: File that says how; otherwise E(KUBECONFIG), then C(~/.kube/config).
        type: path
      context:
        description: The context to take from it, in the place of its current one.
        type: str
  manager:
    description: Whether the collection's modules will run on this host. They need Python 3.11.
    type: bool
    default: true
  ports:
    description: Ports that must be free, or the platform's already.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: The port.
        type: int
        required: true
      protocol:
        description: Its protocol.
        type: str
        choices: [tcp, udp]
        default: tcp
      variable:
        description: The variable that sets it, for messages; empty where it can't be changed.
        type: str
        default: ""
      address:
        description: The address at which it is to be had; all of the host's where empty.
        type: str
        default: ""
  swarm_ports:
    description:
      - Whether the ports that the nodes of a Swarm talk at must be free as well, unless this host is such a node.
    type: bool
    default: false
  memory_mb:
    description: The memory that the host needs.
    type: int
    default: 0
  disk_gb:
    description: The free disk space that the host needs for a first installation.
    type: float
    default: 0
  disk_gb_installed:
    description: The free disk space that it needs once the platform runs there.
    type: float
    default: 0
  docker_version:
    description: An older Docker is a problem.
    type: str
    default: "20.10"
  distributions:
    description: Distributions that Docker is installed on, and the first version of each.
    type: dict
    default:
      debian: "12"
      ubuntu: "22.04"
  config_file:
    description: Docker's option file.
    type: path
    default: /etc/docker/daemon.json
  socket:
    description: Docker's socket.
    type: path
    default: /var/run/docker.sock
author:
  - The mlops.onprem authors (@mlops-onprem)
"""

EXAMPLES = r"""
- name: Look at the host
  mlops.onprem.host_preflight:
    host: "{{ inventory_hostname }}"
    name: mlops
    ports:
      - port: 80
        variable: gateway_http_port
    memory_mb: 3500
    disk_gb: 20
"""

RETURN = r"""
problems:
  description: What must be put right first, each with what to set or do.
  type: list
  elements: str
  returned: success
warnings_found:
  description: What works, but is worth knowing.
  type: list
  elements: str
  returned: success
facts:
  description: What was found.
  type: dict
  returned: success
  sample:
    os: debian 12
    python: "3.11"
    memory_mb: 7950
    disk_free_gb: 61.2
    docker: 20.10.24
    ipvs: true
    installed: false
    noted: swarm
"""

import os
import sys
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._docker import options as option_file
from ansible_collections.mlops.onprem.plugins.module_utils._docker.api import (
    Engine,
    read_swarm,
    version_tuple,
)
from ansible_collections.mlops.onprem.plugins.module_utils._docker.service import find_program
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError, RequestError
from ansible_collections.mlops.onprem.plugins.module_utils._host import installation, ports, system
from ansible_collections.mlops.onprem.plugins.module_utils._host.kernel import (
    IPVS,
    WITHOUT_IPVS,
    Kernel,
)

PYTHON = (3, 11)
SWARM_PORTS = ((2377, "tcp"), (7946, "tcp"), (7946, "udp"), (4789, "udp"))


class Preflight:
    """One look at a host."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.parameters = parameters
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.facts: dict[str, Any] = {}
        self.engine: dict[str, Any] = {}
        self.containers: list[dict[str, Any]] = []

    def look(self) -> None:
        self._docker()
        self._system()
        self._installation()
        if self.parameters["target"] == "swarm":
            self._kernel()
        self._room()
        self._ports()

    def problem(self, text: str) -> None:
        self.problems.append(f"{self.parameters['host']}: {text}")

    def warning(self, text: str) -> None:
        self.warnings.append(f"{self.parameters['host']}: {text}")

    def _docker(self) -> None:
        engine = Engine(self.parameters["socket"], timeout=20)
        if engine.answers():
            try:
                self.engine = engine.info()
                self.containers = list(engine.call("GET", "/containers/json"))
            except RequestError as error:
                self.problem(f"Docker answers with an error: {error}")
        version = str(self.engine.get("ServerVersion", ""))
        self.facts["docker"] = version
        self.facts["installed"] = any(
            ports.is_ours(container, self.parameters["name"]) for container in self.containers
        )
        minimum = self.parameters["docker_version"]
        if version and version_tuple(version) < version_tuple(minimum):
            self.problem(
                f"Docker {version} is older than {minimum}: upgrade it, or remove it so that it is installed anew"
            )
        try:
            self.options = option_file.read(Path(self.parameters["config_file"]))
        except InputError as error:
            self.options = {}
            self.problem(f"{error}: correct it")
        if self.engine and self.engine.get("OSType", "linux") != "linux":
            self.problem(f"Docker runs {self.engine['OSType']} containers; the platform's are for Linux")

    def _system(self) -> None:
        if os.geteuid() != 0:
            self.problem("the playbook needs root: set ansible_become, or a user with sudo")
        release = system.os_release()
        name, version = release.get("ID", "unknown"), release.get("VERSION_ID", "")
        self.facts["os"] = f"{name} {version}".strip()
        supported = self.parameters["distributions"]
        fits = name in supported and system.numbers(version) >= system.numbers(str(supported[name]))
        if not fits:
            known = ", ".join(f"{distribution} {first}" for distribution, first in sorted(supported.items()))
            if self.engine or find_program("dockerd"):
                self.warning(
                    f"{self.facts['os']} isn't among the tested systems ({known} and newer); its own Docker is used"
                )
            else:
                self.problem(
                    f"{self.facts['os']} has no Docker, and it can be installed on {known} and newer only: "
                    "install Docker Engine there yourself, or take another host"
                )
        own = sys.version_info[:2]
        newest = own if own >= PYTHON else next((v for v in _pythons() if v >= PYTHON), own)
        self.facts["python"] = ".".join(map(str, newest))
        if self.parameters["manager"] and newest < PYTHON:
            self.problem(
                f"managers need Python 3.11 or newer, this one has {self.facts['python']}: "
                "install python3.11 and python3.11-venv"
            )

    def _installation(self) -> None:
        """What runs under this name already, and where."""
        name, target = self.parameters["name"], self.parameters["target"]
        self.facts["noted"] = installation.noted(name)
        if not self.parameters["manager"]:
            return
        engine = Engine(self.parameters["socket"], timeout=20)
        services = installation.on_swarm(engine, self.engine, name) if target != "swarm" else 0
        cluster = installation.on_kubernetes(name, self.parameters["cluster"]) if target != "kubernetes" else ""
        conflict = installation.conflict(name, target, services=services, cluster=cluster, record=self.facts["noted"])
        if conflict:
            self.problem(conflict)

    def _kernel(self) -> None:
        kernel = Kernel()
        missing, unknown = kernel.missing()
        for feature in missing:
            self.problem(
                f"the kernel ({kernel.release}) has no {feature.name}, which {feature.purpose} need: "
                f"load the module {feature.module}, or boot a kernel with {feature.option}"
            )
        if unknown:
            self.warning(f"the kernel doesn't tell whether it has {', '.join(feature.name for feature in unknown)}")
        controllers = kernel.missing_controllers()
        if controllers:
            self.problem(
                f"the control group {', '.join(controllers)} is switched off, so limits wouldn't hold: "
                "boot with cgroup_enable=memory (and without cgroup_disable)"
            )
        self.facts["ipvs"] = kernel.has(IPVS) is not False
        if not self.facts["ipvs"]:
            self.warning(WITHOUT_IPVS)

    def _room(self) -> None:
        memory = system.memory_mb()
        self.facts["memory_mb"] = memory
        if memory and memory < self.parameters["memory_mb"]:
            self.problem(
                f"{memory} MB of memory, and {self.parameters['memory_mb']} MB are needed (preflight_memory_mb): "
                "add memory, or install fewer components (mlops_components)"
            )
        place = Path(self.engine.get("DockerRootDir") or self.options.get("data-root") or "/var/lib/docker")
        where, free = system.free_gb(place)
        self.facts["disk_free_gb"] = round(free, 1)
        variable = "disk_gb_installed" if self.facts["installed"] else "disk_gb"
        if free < self.parameters[variable]:
            self.problem(
                f"{free:.1f} GB are free at {where}, where Docker keeps images and volumes, and "
                f"{self.parameters[variable]:g} GB are needed (preflight_{variable}): "
                "make room, or set data-root in host_docker_options"
            )

    def _ports(self) -> None:
        wanted = [
            ports.WantedPort(port["port"], port["protocol"], port["variable"], port["address"])
            for port in self.parameters["ports"]
        ]
        for first, second in ((a, b) for i, a in enumerate(wanted) for b in wanted[i + 1 :]):
            # A role compares its own ports itself.
            others = first.variable.partition("_")[0] != second.variable.partition("_")[0]
            if others and (first.port, first.protocol) == (second.port, second.protocol):
                self.problem(f"{first.variable} and {second.variable} are both {first.port}: they need a port each")
        if self.parameters["swarm_ports"] and read_swarm(self.engine).state == "inactive":
            wanted += [ports.WantedPort(number, protocol, "") for number, protocol in SWARM_PORTS]
        for port, holder in ports.taken(wanted, self.containers, self.parameters["name"]):
            if port.variable:
                taken = f"{port.variable}: port {port.port}/{port.protocol} is taken by {holder}"
                self.problem(f"{taken}: stop that, or set another port")
            else:
                taken = f"port {port.port}/{port.protocol} is taken by {holder}"
                self.problem(f"{taken}, and the nodes of a Swarm talk at it: stop that")


def _pythons() -> list[tuple[int, int]]:
    return [(3, minor) for minor in range(15, 5, -1) if find_program(f"python3.{minor}")]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"required": True},
            "name": {"required": True},
            "target": {"choices": ["swarm", "kubernetes"], "default": "swarm"},
            "cluster": {
                "type": "dict",
                "default": {},
                "options": {"kubeconfig": {"type": "path"}, "context": {"type": "str"}},
            },
            "manager": {"type": "bool", "default": True},
            "ports": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "port": {"type": "int", "required": True},
                    "protocol": {"choices": ["tcp", "udp"], "default": "tcp"},
                    "variable": {"default": ""},
                    "address": {"default": ""},
                },
            },
            "swarm_ports": {"type": "bool", "default": False},
            "memory_mb": {"type": "int", "default": 0},
            "disk_gb": {"type": "float", "default": 0},
            "disk_gb_installed": {"type": "float", "default": 0},
            "docker_version": {"default": "20.10"},
            "distributions": {"type": "dict", "default": {"debian": "12", "ubuntu": "22.04"}},
            "config_file": {"type": "path", "default": "/etc/docker/daemon.json"},
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
        },
        supports_check_mode=True,
    )
    preflight = Preflight(module.params)
    preflight.look()
    module.exit_json(
        changed=False, problems=preflight.problems, warnings_found=preflight.warnings, facts=preflight.facts
    )


if __name__ == "__main__":
    main()
