#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: registry
short_description: The site's image registry, a plain container on one host
version_added: 0.1.0
description:
  - Runs a registry from an image that the engine has, and waits until it is healthy.
  - What is compared is the live container; whatever somebody changed on it by hand is put right.
  - Its data is in a volume that stays.
  - Certificate and users are files on the host that only the registry's user can read.
extends_documentation_fragment:
  - mlops.onprem.host_container
options:
  image:
    description: Image by tag, which the engine has. Needed where O(state=present).
    type: str
  address:
    description: Address of the host that the registry listens at.
    type: str
    default: 127.0.0.1
  port:
    description: Port of the host.
    type: int
    default: 5000
  tls_certificate:
    description: PEM text of the certificate and those above it; without it the registry speaks plain HTTP.
    type: str
    default: ""
  tls_key:
    description: PEM text of the certificate's key.
    type: str
    default: ""
  users:
    description: Name to password; without any, everybody who reaches the registry may push.
    type: dict
    default: {}
  config_dir:
    description: Folder on the host for the certificate and the users.
    type: path
    default: /etc/mlops/registry
  memory:
    description: Limit in bytes.
    type: int
    default: 536870912
  remove_data:
    description: With O(state=absent), remove the volume and O(config_dir) as well.
    type: bool
    default: false
  wait_timeout:
    description: Seconds until it has to be healthy.
    type: int
    default: 60
author:
  - The mlops.onprem authors (@mlops-onprem)
"""

EXAMPLES = r"""
- name: A registry for this host alone
  mlops.onprem.registry:
    name: mlops-registry
    image: 127.0.0.1:5000/registry:0123456789abcdef
"""

RETURN = r"""
why:
  description: What differed, empty if nothing did.
  returned: success
  type: list
  elements: str
status:
  description: V(healthy), or what the engine says of it; V(absent) where it isn't there. In check mode as it is now.
  returned: success
  type: str
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._images.arguments import HOST_CONTAINER
from ansible_collections.mlops.onprem.plugins.module_utils._images.errors import ImagesError
from ansible_collections.mlops.onprem.plugins.module_utils._images.host_container import HostContainer
from ansible_collections.mlops.onprem.plugins.module_utils._images.host_engine import run
from ansible_collections.mlops.onprem.plugins.module_utils._images.htpasswd import htpasswd

MOUNT = "/etc/registry"


def container(parameters: Mapping[str, Any]) -> HostContainer:
    """What the parameters ask for."""
    tls, users = bool(parameters["tls_certificate"]), bool(parameters["users"])
    environment = {}
    if tls:
        environment["REGISTRY_HTTP_TLS_CERTIFICATE"] = f"{MOUNT}/tls.pem"
        environment["REGISTRY_HTTP_TLS_KEY"] = f"{MOUNT}/tls.key"
        environment["REGISTRY_HTTP_TLS_MINIMUMTLS"] = "tls1.2"
    if users:
        environment["REGISTRY_AUTH_HTPASSWD_REALM"] = parameters["namespace"]
        environment["REGISTRY_AUTH_HTPASSWD_PATH"] = f"{MOUNT}/htpasswd"
    # The certificate names the host, and this asks from within.
    option = ["--no-check-certificate"] if tls else []
    asked = f"{'https' if tls else 'http'}://127.0.0.1:5000/"
    return HostContainer(
        name=parameters["name"],
        namespace=parameters["namespace"],
        role="registry",
        image=parameters["image"],
        prefix="REGISTRY_",
        health=["wget", "-q", "-T", "3", "-O", "/dev/null", *option, asked],
        start_period=10,
        memory=parameters["memory"],
        cpus=parameters["cpus"],
        environment=environment,
        volumes={parameters["name"]: "/var/lib/registry"},
        folders={str(parameters["config_dir"]): MOUNT} if tls or users else {},
        ports={"5000/tcp": [{"HostIp": parameters["address"], "HostPort": str(parameters["port"])}]},
    )


def wanted_files(parameters: Mapping[str, Any], check: bool) -> dict[str, str]:
    files = {}
    if parameters["tls_certificate"]:
        files = {"tls.pem": parameters["tls_certificate"], "tls.key": parameters["tls_key"]}
    if parameters["users"]:
        path = Path(parameters["config_dir"]) / "htpasswd"
        current = path.read_text() if path.is_file() else ""
        try:
            files["htpasswd"] = htpasswd(parameters["users"], current)
        except ImagesError:
            if not check:
                raise
            files["htpasswd"] = "(not computed: bcrypt is missing)"
    return files


def describe(parameters: Mapping[str, Any], check: bool) -> tuple[HostContainer, dict[str, str]]:
    return container(parameters), wanted_files(parameters, check)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **HOST_CONTAINER,
            "image": {"type": "str"},
            "address": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 5000},
            "tls_certificate": {"type": "str", "default": ""},
            "tls_key": {"type": "str", "default": "", "no_log": True},
            "users": {"type": "dict", "default": {}, "no_log": True},
            "config_dir": {"type": "path", "default": "/etc/mlops/registry"},
            "memory": {"type": "int", "default": 536870912},
            "remove_data": {"type": "bool", "default": False},
            "wait_timeout": {"type": "int", "default": 60},
        },
        required_if=[("state", "present", ["image"])],
        supports_check_mode=True,
    )
    run(module, describe, data=module.params["remove_data"])


if __name__ == "__main__":
    main()
