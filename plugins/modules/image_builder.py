#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: image_builder
short_description: The image builder, a plain container on the host that builds images
version_added: 0.1.0
description:
  - Runs what makes images for model versions whose lock has none, and waits until it has found the registry of models.
  - It reaches mirrors, image registry and gateway as the host does, by the host's network; it listens nowhere.
  - What is compared is the live container; whatever somebody changed on it by hand is put right.
  - Its settings are a file on the host that only its user can read.
extends_documentation_fragment:
  - mlops.onprem.host_container
  - mlops.onprem.images.mirrors
options:
  image:
    description: Image by digest, in the site's registry. Needed where O(state=present).
    type: str
  tracking_uri:
    description: MLflow's address. Needed where O(state=present).
    type: str
  username:
    description: User at MLflow.
    type: str
    default: images
  password:
    description: Its password. Needed where O(state=present).
    type: str
  ca:
    description: PEM text of what is trusted at O(tracking_uri) beside the system's authorities.
    type: str
    default: ""
  extra_hosts:
    description: Names that the host doesn't know, each as C(name:address).
    type: list
    elements: str
    default: []
  registry:
    description: The site's image registry. Needed where O(state=present).
    type: dict
    suboptions:
      address:
        description: Host and port, and a path where the registry has one.
        type: str
        required: true
      username:
        description: User that pushes.
        type: str
        default: ""
      password:
        description: Its password.
        type: str
        default: ""
      ca:
        description: PEM text of what is trusted there.
        type: str
        default: ""
  config_dir:
    description: Folder on the host for the settings.
    type: path
    default: /etc/mlops/image-builder
  memory:
    description: Limit in bytes.
    type: int
    default: 1073741824
  wait_timeout:
    description: Seconds until it has to be healthy, which it is once MLflow has answered it.
    type: int
    default: 120
author:
  - The mlops.onprem authors (@mlops-onprem)
"""

EXAMPLES = r"""
- name: Have locks that are new become images
  mlops.onprem.image_builder:
    name: mlops-image-builder
    image: 127.0.0.1:5000/image_builder@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    tracking_uri: http://mlflow.localhost
    extra_hosts: [mlflow.localhost:127.0.0.1]
    password: "{{ mlflow_images_password }}"
    registry:
      address: 127.0.0.1:5000
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

import json
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._docker.api import Engine
from ansible_collections.mlops.onprem.plugins.module_utils._images.arguments import (
    HOST_CONTAINER,
    MIRRORS,
    REGISTRY,
)
from ansible_collections.mlops.onprem.plugins.module_utils._images.host_container import HostContainer
from ansible_collections.mlops.onprem.plugins.module_utils._images.host_engine import run
from ansible_collections.mlops.onprem.plugins.module_utils._images.mirrors import Mirrors, host_environment
from ansible_collections.mlops.onprem.plugins.module_utils._images.reference import is_loopback

MOUNT = "/etc/image-builder"
FILE = "settings.json"


def container(parameters: Mapping[str, Any]) -> HostContainer:
    """What the parameters ask for."""
    return HostContainer(
        name=parameters["name"],
        namespace=parameters["namespace"],
        role="image-builder",
        image=parameters["image"],
        prefix="IMAGE_BUILDER_",
        # It is touched whenever MLflow has answered, and while an image is made.
        health=["sh", "-c", 'test -n "$(find /tmp/heartbeat -mmin -10)"'],
        start_period=60,
        memory=parameters["memory"],
        cpus=parameters["cpus"],
        volumes={parameters["name"]: "/var/lib/image-builder"},
        folders={str(parameters["config_dir"]): MOUNT},
        host_network=True,
        extra_hosts=parameters["extra_hosts"],
    )


def settings(parameters: Mapping[str, Any], reached: Mirrors) -> str:
    """The file that the builder reads."""
    registry = parameters["registry"]
    authorities = [parameters["ca"], registry["ca"], reached.ca_bundle]
    names = {"UV_DEFAULT_INDEX", *(name for name in reached.environment() if name.lower().endswith("_proxy"))}
    document = {
        "tracking": {name: parameters[name] for name in ("username", "password")} | {"uri": parameters["tracking_uri"]},
        "registry": {
            **{name: registry[name] for name in ("address", "username", "password")},
            "plain_http": is_loopback(registry["address"]),
        },
        "base": parameters["image"],
        "authorities": "\n".join(text.strip() for text in authorities if text.strip()),
        "environment": {name: value for name, value in reached.environment().items() if name in names},
    }
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def describe(parameters: Mapping[str, Any], check: bool) -> tuple[HostContainer, dict[str, str]]:
    reached = Mirrors(**parameters["mirrors"]).filled_from_host(host_environment())
    wanted, registry = container(parameters), parameters["registry"]
    if not check:
        # Where the registry had it already, this engine may never have seen it.
        engine = Engine(parameters["docker_socket"])
        engine.pull_missing(wanted.image, registry["address"], registry["username"], registry["password"])
    return wanted, {FILE: settings(parameters, reached)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **HOST_CONTAINER,
            "image": {"type": "str"},
            "tracking_uri": {"type": "str"},
            "username": {"type": "str", "default": "images"},
            "password": {"type": "str", "no_log": True},
            "ca": {"type": "str", "default": ""},
            "extra_hosts": {"type": "list", "elements": "str", "default": []},
            "registry": {**REGISTRY, "required": False},
            "mirrors": MIRRORS,
            "config_dir": {"type": "path", "default": "/etc/mlops/image-builder"},
            "memory": {"type": "int", "default": 1073741824},
            "wait_timeout": {"type": "int", "default": 120},
        },
        required_if=[("state", "present", ["image", "tracking_uri", "password", "registry"])],
        supports_check_mode=True,
    )
    run(module, describe, data=True)


if __name__ == "__main__":
    main()
