#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_notification_policy_info
short_description: Read the tree of notification policies of Grafana's alerting
version_added: 0.1.0
description:
  - Reads the tree of notification policies of an organisation.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.grafana
  - mlops.onprem.api
  - mlops.onprem.attributes.info
seealso:
  - module: mlops.onprem.grafana_notification_policy
"""

EXAMPLES = r"""
- name: Read the notification policies
  mlops.onprem.grafana_notification_policy_info:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
  register: policies
"""

RETURN = r"""
notification_policy:
  description: The tree; null only with O(unreachable_in_check=ignore).
  returned: success
  type: dict
  contains:
    receiver:
      description: The contact point that gets what no route takes.
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
    group_by:
      description: The labels that group alerts.
      type: list
      elements: str
      returned: when set
    group_wait:
      description: How long a new group waits for more alerts.
      type: str
      returned: when set
    group_interval:
      description: How long a group waits before it tells of new alerts.
      type: str
      returned: when set
    repeat_interval:
      description: How long until it tells of the same alerts again.
      type: str
      returned: when set
    routes:
      description: Its routes, each with what is set of it; matchers as lists of label, operator and value.
      type: list
      elements: dict
      returned: when set
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
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.policy_trees import PolicyTree


def work(_module: AnsibleModule, client: GrafanaClient) -> dict[str, Any]:
    """Read."""
    return {"changed": False, "notification_policy": PolicyTree(client, check=True).find()}


def unknown(_module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    return {"changed": False, "notification_policy": None}


def main() -> None:
    run({}, work, unknown)


if __name__ == "__main__":
    main()
