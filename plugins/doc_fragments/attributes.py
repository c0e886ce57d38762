# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The attributes of modules that keep something as declared, and of those that read."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and tell what it would change, without changing anything.
    support: full
  diff_mode:
    description: Returns what changed, or would change, in diff mode.
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
  action_group:
    description: The action group that the module belongs to, for C(module_defaults).
    support: full
    membership:
      - mlops.onprem.platform
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Reads only, so check mode changes nothing.
    support: full
  diff_mode:
    description: Reads only, so there is nothing to show.
    support: N/A
  idempotent:
    description: Reads only.
    support: full
  action_group:
    description: The action group that the module belongs to, for C(module_defaults).
    support: full
    membership:
      - mlops.onprem.platform
"""
