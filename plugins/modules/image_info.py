#!/usr/bin/python
# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Which images a registry has, and what this host can build with
version_added: 0.1.0
description:
  - Asks the site's registry for the digests of references, several at a time.
  - On request says whether an upstream registry can be reached, and which build tools the host lacks.
  - Needs nothing but Python on the host; a registry that isn't there yet is an answer too.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: none
options:
  registry:
    description: The site's registry.
    type: dict
    required: true
    suboptions:
      address:
        description: Host and port, optionally with a path that all repositories lie below. Loopback addresses speak plain HTTP.
        type: str
        required: true
      username:
        description: User of the registry, empty where it wants none.
        type: str
        default: ""
      password:
        description: The user's password.
        type: str
        default: ""
      ca:
        description: PEM text of a CA that is trusted beside the system's.
        type: str
        default: ""
  references:
    description: References by tag, in the registry.
    type: list
    elements: str
    default: []
  engine:
    description: Look into the engine of this host as well, for images that haven't been pushed.
    type: bool
    default: false
  docker_host:
    description: The engine's address, empty for the default.
    type: str
    default: ""
  upstream:
    description: Addresses of registries; the first that answers within O(upstream_timeout) makes RV(upstream_reachable) true.
    type: list
    elements: str
    default: []
  upstream_timeout:
    description: Seconds that an upstream registry has to answer.
    type: float
    default: 4
author:
  - The mlops.onprem authors
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
lacks:
  description: What a build on this host needs and it doesn't have, among buildkit, mmdebstrap and keyring.
  returned: always
  type: list
  elements: str
upstream_reachable:
  description: Whether one of O(upstream) answered; null if none was asked.
  returned: always
  type: bool
"""

import shutil
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


def lacking() -> list[str]:
    found = {
        "buildkit": find_buildkit() is not None,
        "mmdebstrap": shutil.which("mmdebstrap") is not None,
        "keyring": Path("/usr/share/keyrings/debian-archive-keyring.gpg").is_file(),
    }
    return [name for name, there in found.items() if not there]


def run(parameters: dict[str, Any]) -> dict[str, Any]:
    client = registry_client(parameters["registry"])
    references = list(dict.fromkeys(parameters["references"]))
    digests: dict[str, str | None] = dict.fromkeys(references)
    answer = "ok"
    try:
        with ThreadPoolExecutor(max_workers=8) as pool:
            found = pool.map(lambda text: client.digest(Reference.parse(text)), references)
            digests = dict(zip(references, found, strict=True))
    except RegistryUnreachableError as error:
        answer = str(error)
    absent = [reference for reference, digest in digests.items() if digest is None]
    in_engine: list[str] = []
    if parameters["engine"] and absent and (command := find_buildkit()):
        cli = DockerCli(command, Path("/dev/null"), parameters["docker_host"])
        in_engine = [reference for reference in absent if cli.exists(reference)]
    upstream = parameters["upstream"]
    return {
        "digests": digests,
        "registry": answer,
        "in_engine": in_engine,
        "lacks": lacking() if absent else [],
        "upstream_reachable": any(reachable(a, parameters["upstream_timeout"]) for a in upstream) if upstream else None,
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
