#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: image_prune
short_description: Removes images that this collection made from an engine
version_added: 0.1.0
description:
  - Only images that carry this collection's key as a label are touched, and of those only what no container uses.
  - What the registry holds stays.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: full
options:
  keep:
    description: Keys to keep.
    type: list
    elements: str
    required: true
  registry:
    description:
      - Address of a registry. Only what is named after it is touched, so that other platforms on the host keep theirs.
    type: str
    default: ""
  docker_socket:
    description: The engine's socket.
    type: path
    default: /var/run/docker.sock
author:
  - The mlops.onprem authors (@mlops-onprem)
"""

EXAMPLES = r"""
- name: Remove all but one
  mlops.onprem.image_prune:
    keep: [0123456789abcdef]
"""

RETURN = r"""
removed:
  description: Tags, or image ids where there is no tag.
  returned: success
  type: list
  elements: str
kept_in_use:
  description: Tags of images that a container uses.
  returned: success
  type: list
  elements: str
"""

import json
import urllib.parse
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._docker.api import Engine
from ansible_collections.mlops.onprem.plugins.module_utils._errors import RequestError
from ansible_collections.mlops.onprem.plugins.module_utils._images.make import KEY_LABEL


def obsolete(images: list[dict[str, Any]], keep: set[str], registry: str = "") -> list[str]:
    """Names of our images under other keys, what is built on others first."""
    prefix = f"{registry}/" if registry else ""
    ours = [image for image in images if (image.get("Labels") or {}).get(KEY_LABEL, "") not in keep | {""}]
    names = []
    for image in sorted(ours, key=lambda image: image["Created"], reverse=True):
        tags = [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]
        digests = [digest for digest in image.get("RepoDigests") or [] if digest != "<none>@<none>"]
        if tags:
            names += [tag for tag in tags if tag.startswith(prefix)]
        elif all(digest.startswith(prefix) for digest in digests):
            names.append(image["Id"])
    return names


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "keep": {"type": "list", "elements": "str", "required": True, "no_log": False},
            "registry": {"default": ""},
            "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
        },
        supports_check_mode=True,
    )
    engine = Engine(module.params["docker_socket"])
    removed: list[str] = []
    in_use: list[str] = []
    try:
        images = engine.call("GET", "/images/json", filters=json.dumps({"label": [KEY_LABEL]}))
        for name in obsolete(images, set(module.params["keep"]), module.params["registry"]):
            if not module.check_mode:
                try:
                    engine.call("DELETE", f"/images/{urllib.parse.quote(name, safe=':/')}")
                except RequestError as error:
                    if error.status not in {404, 409}:
                        raise
                    in_use.append(name)
                    continue
            removed.append(name)
    except RequestError as error:
        if not error.unreachable:
            module.fail_json(msg=str(error))
    module.exit_json(changed=bool(removed), removed=removed, kept_in_use=in_use, diff={"before": removed, "after": []})


if __name__ == "__main__":
    main()
