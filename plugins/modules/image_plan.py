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
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.images
  - mlops.onprem.images.registry
options:
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
