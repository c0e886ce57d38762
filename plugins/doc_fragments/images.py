# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What the modules about images share: the table of recipes here, the registry below."""

    DOCUMENTATION = r"""
options:
  artifacts:
    description: The artefact table, see C(roles/images/vars/artifacts.yml) and C(images/README.md).
    type: dict
    required: true
  source:
    description:
      - V(build) makes every image from its recipe, V(pull) takes upstream's where there is one.
      - V(auto) is decided once, by whether upstream's registries can be reached, and kept in O(lock_file).
    type: str
    choices: [auto, pull, build]
    default: auto
  lock_file:
    description: File on the control host that keeps what V(auto) decided, and the digests that first pulls found.
    type: path
    required: true
  pull_mirror:
    description: Address of a registry that mirrors upstream's, put in the place of their names.
    type: str
    default: ""
  rootfs_from:
    description: An image by digest to make the base image from; empty makes it from Debian packages.
    type: str
    default: ""
  rebuild:
    description: Make the images anew although their keys haven't changed, for newer packages of the distribution.
    type: bool
    default: false
attributes:
  action:
    description: Has a corresponding action plugin, which works on the control host.
    support: full
"""

    MIRRORS = r"""
options:
  mirrors:
    description: What is reached out through; what is left empty is taken from the host's own settings.
    type: dict
    default: {}
    suboptions:
      ca_bundle:
        description: PEM text of the trusted CAs.
        type: str
        default: ""
      apt_sources:
        description: Sources of Debian 12, in one-line form.
        type: str
        default: ""
      pip_index_url:
        description: Index of Python packages.
        type: str
        default: ""
      go_proxy:
        description: Value of GOPROXY.
        type: str
        default: ""
      maven_mirror:
        description: Address of a mirror of Maven Central.
        type: str
        default: ""
      http_proxy:
        description: Proxy for http.
        type: str
        default: ""
      https_proxy:
        description: Proxy for https.
        type: str
        default: ""
      no_proxy:
        description: Hosts that are reached without a proxy.
        type: str
        default: ""
"""

    REGISTRY = r"""
options:
  registry:
    description: The site's registry.
    type: dict
    required: true
    suboptions:
      address:
        description: Host and port, optionally with a path. Loopback addresses speak plain HTTP.
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
  docker_host:
    description: The engine's address, empty for the default.
    type: str
    default: ""
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: none
"""
