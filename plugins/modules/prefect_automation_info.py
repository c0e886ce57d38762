#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: prefect_automation_info
short_description: Read automations of Prefect
version_added: 0.1.0
description:
  - Reads automations of Prefect.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.prefect
  - mlops.onprem.api
  - mlops.onprem.attributes.info
options:
  name:
    description: Name of the automations. Without it all are returned.
    type: str
seealso:
  - module: mlops.onprem.prefect_automation
"""

EXAMPLES = r"""
- name: Read all automations
  mlops.onprem.prefect_automation_info:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
  register: automations
"""

RETURN = r"""
automations:
  description: The automations, sorted by name; an empty list when there is none of that name.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Its id.
      type: str
      returned: always
    name:
      description: Its name.
      type: str
      returned: always
      sample: Runs that went silent
    description:
      description: Its description.
      type: str
      returned: always
    enabled:
      description: Whether it acts.
      type: bool
      returned: always
    tags:
      description: Its tags.
      type: list
      elements: str
      returned: always
    trigger:
      description: What sets it off, with all that Prefect adds.
      type: dict
      returned: always
    actions:
      description: What it does.
      type: list
      elements: dict
      returned: always
    actions_on_trigger:
      description: What it does besides when it is set off.
      type: list
      elements: dict
      returned: always
    actions_on_resolve:
      description: What it does when what set it off is over.
      type: list
      elements: dict
      returned: always
    created:
      description: When it was created.
      type: str
      returned: always
    updated:
      description: When it was last changed.
      type: str
      returned: always
reachable:
  description: Whether a Prefect server answered; V(false) only with O(unreachable_in_check=ignore).
  returned: success
  type: bool
request:
  description: The request that failed, with method, address (without credentials), status, message, code and hint.
  returned: when a request failed
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.arguments import run
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.automations import Automations
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.client import PrefectClient
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.comparison import masked


def work(module: AnsibleModule, client: PrefectClient) -> dict[str, Any]:
    """Read."""
    return {"changed": False, "automations": masked(Automations(client, check=True).all(module.params["name"]))}


def unknown(_module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    return {"changed": False, "automations": []}


def main() -> None:
    run({"name": {"type": "str"}}, work, unknown)


if __name__ == "__main__":
    main()
