#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_contact_point_info
short_description: Read contact points of Grafana's alerting
version_added: 0.1.0
description:
  - Reads contact points with their integrations, without the values of secrets.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.grafana
  - mlops.onprem.api
  - mlops.onprem.attributes.info
options:
  name:
    description: Name of one contact point. Without it all are returned.
    type: str
seealso:
  - module: mlops.onprem.grafana_contact_point
"""

EXAMPLES = r"""
- name: Read all contact points
  mlops.onprem.grafana_contact_point_info:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
  register: points
"""

RETURN = r"""
contact_points:
  description: The contact points, sorted by name; an empty list when there is none of that name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    locked:
      description: Whether it can't be changed in the pages.
      type: bool
      returned: always
    provenance:
      description: What has locked it, V(api) or V(file); empty where nothing has.
      type: str
      returned: always
    integrations:
      description: Its integrations.
      type: list
      elements: dict
      returned: always
      contains:
        uid:
          description: Its uid; null where it is yet to be given.
          type: str
          returned: always
        type:
          description: Its type.
          type: str
          returned: always
        settings:
          description: What isn't secret.
          type: dict
          returned: always
        secure_settings:
          description: The names of its secrets, each value hidden.
          type: dict
          returned: always
        disable_resolve_message:
          description: Whether it doesn't tell when an alert is over.
          type: bool
          returned: always
reachable:
  description: Whether a Grafana server answered; V(false) only with O(unreachable_in_check=ignore).
  returned: success
  type: bool
request:
  description: The request that failed, with method, address (without credentials), status, message, code and hint.
  returned: when a request failed
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.arguments import run
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.client import GrafanaClient
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.contact_points import ContactPoints


def work(module: AnsibleModule, client: GrafanaClient) -> dict[str, Any]:
    """Read."""
    return {"changed": False, "contact_points": ContactPoints(client, check=True).all(module.params["name"])}


def unknown(_module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    return {"changed": False, "contact_points": []}


def main() -> None:
    run({"name": {"type": "str"}}, work, unknown)


if __name__ == "__main__":
    main()
