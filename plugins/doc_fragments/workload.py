# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What the modules about workloads share."""

    DOCUMENTATION = r"""
options:
  target:
    description: What the workloads run on.
    type: str
    choices: [swarm]
    default: swarm
  namespace:
    description:
      - Name of the platform. Everything that is made carries it in its name and as the label C(mlops.namespace).
    type: str
    required: true
  docker_host:
    description:
      - Address of a manager's Docker engine.
      - Falls back to the environment variable E(DOCKER_HOST), then to V(unix:///var/run/docker.sock).
    type: str
requirements:
  - Python 3.11 or newer, with the package C(docker), on the host that runs the module
  - Docker Engine 20.10 or newer on that host, as a manager of a Swarm
"""

    ATTRIBUTES = r"""
options: {}
attributes:
  action_group:
    description: The action group that the module belongs to, for C(module_defaults).
    support: full
    membership:
      - mlops.onprem.platform
"""
