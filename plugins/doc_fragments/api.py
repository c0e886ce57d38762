# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What all modules share that speak to a server's API, beside its address and its credentials."""

    DOCUMENTATION = r"""
options:
  validate_certs:
    description: Whether the server's certificate is verified.
    type: bool
    default: true
  timeout:
    description: Seconds to wait for a connection and for each answer.
    type: float
    default: 30
  unreachable_in_check:
    description:
      - What to do in check mode when no server answers, as on a host that a playbook has yet to set up.
      - V(ignore) reports what would be made on an empty server, and returns RV(ignore:reachable=false).
      - The file at O(ca_path) need not be there then.
    type: str
    choices: [fail, ignore]
    default: fail
requirements:
  - Python 3.11 or newer on the host that runs the module
notes:
  - A request is repeated, up to three times, only where a repeat changes nothing.
  - Runs on any host that reaches the server; nothing but Python's standard library is needed.
"""
