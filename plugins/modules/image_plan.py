#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

# The work is done by the action plugin of this name.

from __future__ import annotations

DOCUMENTATION = r"""
module: image_plan
short_description: Which images of the site are there, and which have to be made
version_added: 0.1.0
description:
  - Computes on the control host the key of each wanted image, the hash of everything that goes into it, and asks the
    registry for it.
  - One module call on the build host, whatever the number of images; builds nothing.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: none
  action:
    description: Has a corresponding action plugin, which works on the control host.
    support: full
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
  docker_host:
    description: The engine's address, empty for the default.
    type: str
    default: ""
  wanted:
    description: Names of images.
    type: list
    elements: str
    required: true
  allow_evaluation:
    description: Whether recipes that are marked for evaluation may be used.
    type: bool
    default: false
  engine:
    description: Be content with images that the engine has but the registry doesn't; for the registry's own image.
    type: bool
    default: false
author:
  - The mlops.onprem authors (@mlops-onprem)
"""

EXAMPLES = r"""
- name: See which images have to be made
  mlops.onprem.image_plan:
    artifacts: "{{ table }}"
    wanted: [postgresql, traefik]
    lock_file: "{{ inventory_dir }}/images.lock.yml"
    registry:
      address: 127.0.0.1:5000
  register: plan
"""

RETURN = r"""
images:
  description: Name to reference, by digest where the image is there, by tag where it has yet to be made.
  returned: success
  type: dict
missing:
  description: What has to be made, bases first; each has C(name), C(how), C(reference), C(key) and more.
  returned: success
  type: list
  elements: dict
keys:
  description: The current keys of all images of the table.
  returned: success
  type: list
  elements: str
source:
  description: V(pull) or V(build).
  returned: success
  type: str
evaluation:
  description: Names of the wanted images whose recipe is for evaluation only.
  returned: success
  type: list
  elements: str
"""
