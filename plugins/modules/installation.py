#!/usr/bin/python
# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: installation
short_description: The note on a manager which platform it installed, and on which target
version_added: 0.1.0
description:
  - Keeps a small file, so that another target isn't installed over a platform that can't be seen at that time.
    M(mlops.onprem.host_preflight) reads it.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: full
options:
  name:
    description: The platform's name.
    type: str
    required: true
  target:
    description: What it runs on. Required for V(present).
    type: str
    choices: [swarm, kubernetes]
  state:
    description: Whether it is installed.
    type: str
    choices: [present, absent]
    default: present
  directory:
    description: Where each platform has a directory of its name.
    type: path
    default: /etc
author:
  - The mlops.onprem authors (@mlops-onprem)
"""

EXAMPLES = r"""
- name: Note what is installed
  mlops.onprem.installation:
    name: mlops
    target: swarm
"""

RETURN = r"""
others:
  description: Other platforms that the host is the manager of.
  type: list
  elements: str
  returned: success
"""

import contextlib
import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._host.installation import noted, others, place


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"required": True},
            "target": {"choices": ["swarm", "kubernetes"]},
            "state": {"choices": ["present", "absent"], "default": "present"},
            "directory": {"type": "path", "default": "/etc"},
        },
        required_if=[("state", "present", ["target"])],
        supports_check_mode=True,
    )
    name, root = module.params["name"], Path(module.params["directory"])
    file = place(name, root)
    before = noted(name, root)
    after = module.params["target"] if module.params["state"] == "present" else ""
    changed = before != after or (not after and file.exists())
    if changed and not module.check_mode:
        try:
            write(file, {"name": name, "target": after} if after else None)
        except OSError as error:
            module.fail_json(msg=f"{file}: {error.strerror}")
    diff = {"before": {"target": before}, "after": {"target": after}}
    module.exit_json(changed=changed, diff=diff, others=others(name, root))


def write(file: Path, record: dict[str, str] | None) -> None:
    if record is None:
        file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others may have theirs there
            file.parent.rmdir()
        return
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    staged = file.with_name(f".{file.name}")
    staged.write_text(json.dumps(record) + "\n", encoding="utf-8")
    staged.chmod(0o644)
    staged.replace(file)


if __name__ == "__main__":
    main()
