# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What the modules share that run a plain container on a host."""

    DOCUMENTATION = r"""
options:
  name:
    description: Name of the container; the volume is named alike.
    type: str
    required: true
  namespace:
    description: Name of the platform, for the labels.
    type: str
    default: mlops
  state:
    description: Whether it is to run or not to be there.
    type: str
    choices: [present, absent]
    default: present
  cpus:
    description: Limit in processors.
    type: float
    default: 2
  docker_socket:
    description: The engine's socket.
    type: path
    default: /var/run/docker.sock
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: full
"""
