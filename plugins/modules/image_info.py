#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Which images a registry has
version_added: 0.1.0
description:
  - Asks the site's registry for the digests of references, several at a time.
  - On request says whether an upstream registry can be reached.
  - Needs nothing but Python on the host; a registry that isn't there yet is an answer too.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.images.registry
options:
  references:
    description: References by tag, in the registry. Without any, the registry is only asked whether it takes the user.
    type: list
    elements: str
    default: []
  engine:
    description: Ask the engine of this host instead of the registry, for images that haven't been pushed.
    type: bool
    default: false
  upstream:
    description:
      - Addresses of registries; the first that answers within O(upstream_timeout) makes RV(upstream_reachable) true.
      - Nothing else is asked then.
    type: list
    elements: str
    default: []
  upstream_timeout:
    description: Seconds that an upstream registry has to answer.
    type: float
    default: 4
"""

EXAMPLES = r"""
- name: See what the registry has
  mlops.onprem.image_info:
    registry:
      address: 127.0.0.1:5000
    references:
      - 127.0.0.1:5000/base:0123456789abcdef
"""

RETURN = r"""
digests:
  description: Reference to digest, null where the registry doesn't have it.
  returned: always
  type: dict
registry:
  description: V(ok), or why the registry couldn't be asked.
  returned: always
  type: str
in_engine:
  description: The references that the engine of this host has.
  returned: always
  type: list
  elements: str
upstream_reachable:
  description: Whether one of O(upstream) answered; null if none was asked.
  returned: always
  type: bool
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._images.arguments import REGISTRY, registry_client
from ansible_collections.mlops.onprem.plugins.module_utils._images.docker_cli import DockerCli, find_buildkit
from ansible_collections.mlops.onprem.plugins.module_utils._images.errors import ImagesError
from ansible_collections.mlops.onprem.plugins.module_utils._images.reference import Reference
from ansible_collections.mlops.onprem.plugins.module_utils._images.registry_client import (
    RegistryClient,
    RegistryUnreachableError,
)


def reachable(address: str, timeout: float) -> bool:
    """Any answer of a registry's kind will do; a proxy's error page won't."""
    try:
        return RegistryClient(address, timeout=timeout).ping() in {200, 401}
    except RegistryUnreachableError:
        return False


def in_engine(references: list[str], docker_host: str) -> list[str]:
    command = find_buildkit()
    if command is None:
        return []
    cli = DockerCli(command, Path("/dev/null"), docker_host)
    return [reference for reference in references if cli.exists(reference)]


def in_registry(client: RegistryClient, references: list[str]) -> dict[str, str | None]:
    if not references:
        client.check()
        return {}
    with ThreadPoolExecutor(max_workers=8) as pool:
        found = pool.map(lambda text: client.digest(Reference.parse(text)), references)
        return dict(zip(references, found, strict=True))


def run(parameters: dict[str, Any]) -> dict[str, Any]:
    references = list(dict.fromkeys(parameters["references"]))
    upstream = parameters["upstream"]
    if upstream:
        reached = any(reachable(address, parameters["upstream_timeout"]) for address in upstream)
        return {"digests": {}, "registry": "not asked", "in_engine": [], "upstream_reachable": reached}
    digests: dict[str, str | None] = dict.fromkeys(references)
    present: list[str] = []
    answer = "not asked" if parameters["engine"] else "ok"
    if parameters["engine"]:
        present = in_engine(references, parameters["docker_host"])
    else:
        try:
            digests = in_registry(registry_client(parameters["registry"]), references)
        except RegistryUnreachableError as error:
            answer = str(error)
    return {
        "digests": digests,
        "registry": answer,
        "in_engine": present,
        "upstream_reachable": None,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "registry": REGISTRY,
            "references": {"type": "list", "elements": "str", "default": []},
            "engine": {"type": "bool", "default": False},
            "docker_host": {"type": "str", "default": ""},
            "upstream": {"type": "list", "elements": "str", "default": []},
            "upstream_timeout": {"type": "float", "default": 4},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **run(module.params))
    except ImagesError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
