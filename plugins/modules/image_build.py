#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build
short_description: Builds or pulls one image and pushes it to the site's registry
version_added: 0.1.0
description:
  - The action plugin puts the build context together on the control host and hands it to this module on the build host.
  - An image that the registry has under its key isn't built again; one that the engine has is only pushed.
  - Mirrors, proxies and the CA bundle reach a build as BuildKit secrets, and end up in no layer.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.images
  - mlops.onprem.images.mirrors
  - mlops.onprem.images.registry
options:
  name:
    description: Name of the image.
    type: str
    required: true
  push:
    description: Whether the image goes to the registry; not so for the registry's own image before there is one.
    type: bool
    default: true
  network:
    description: Network of the build's commands.
    type: str
    choices: [default, host]
    default: default
  log_dir:
    description: Folder on the build host for the builds' logs.
    type: path
    default: /var/log/mlops/images
  timeout:
    description: Seconds that a build or a push may take.
    type: int
    default: 3600
  job:
    description: Filled in by the action plugin.
    type: dict
"""

EXAMPLES = r"""
- name: Build one image
  mlops.onprem.image_build:
    name: traefik
    artifacts: "{{ table }}"
    lock_file: "{{ inventory_dir }}/images.lock.yml"
    registry:
      address: 127.0.0.1:5000
"""

RETURN = r"""
reference:
  description: The image, by digest if it was pushed.
  returned: success
  type: str
digest:
  description: Digest in the site's registry.
  returned: when pushed
  type: str
upstream_digest:
  description: Digest of a pulled image at its upstream.
  returned: when pulled
  type: str
did:
  description: V(present), V(pushed), V(built) or V(pulled); in check mode what would be done.
  returned: success
  type: str
summary:
  description: What was done in a few words, with the seconds it took and the log.
  returned: success
  type: str
seconds:
  description: How long it took.
  returned: success
  type: int
log:
  description: File on the build host with all that the build said.
  returned: success
  type: str
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._images.arguments import MIRRORS, REGISTRY
from ansible_collections.mlops.onprem.plugins.module_utils._images.errors import ImagesError
from ansible_collections.mlops.onprem.plugins.module_utils._images.make import Job, make


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "artifacts": {"type": "dict", "required": True},
            "source": {"type": "str", "choices": ["auto", "pull", "build"], "default": "auto"},
            "lock_file": {"type": "path", "required": True},
            "pull_mirror": {"type": "str", "default": ""},
            "rootfs_from": {"type": "str", "default": ""},
            "rebuild": {"type": "bool", "default": False},
            "docker_host": {"type": "str", "default": ""},
            "registry": REGISTRY,
            "mirrors": MIRRORS,
            "push": {"type": "bool", "default": True},
            "network": {"type": "str", "choices": ["default", "host"], "default": "default"},
            "log_dir": {"type": "path", "default": "/var/log/mlops/images"},
            "timeout": {"type": "int", "default": 3600},
            "job": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    parameters: dict[str, Any] = module.params
    if parameters["job"] is None:
        module.fail_json(msg="image_build needs its action plugin, which puts the build context together")
    job = Job.from_parameters(parameters)
    started = time.monotonic()
    try:
        made = make(job, check=module.check_mode)
    except ImagesError as error:
        module.fail_json(msg=f"image {job.name}: {error}", log=str(job.log))
    seconds = round(time.monotonic() - started)
    log = str(job.log) if job.log.is_file() else ""
    module.exit_json(
        changed=made.changed,
        summary=f"{made.did} in {seconds} s" + (f", log {log}" if log else ""),
        reference=made.reference,
        digest=made.digest,
        upstream_digest=made.upstream_digest,
        did=made.did,
        seconds=seconds,
        log=log,
    )


if __name__ == "__main__":
    main()
