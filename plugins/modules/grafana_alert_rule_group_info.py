#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_alert_rule_group_info
short_description: Read groups of alert rules of Grafana
version_added: 0.1.0
description:
  - Reads groups of Grafana's own alert rules, with their rules.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.grafana
  - mlops.onprem.api
  - mlops.onprem.attributes.info
options:
  name:
    description: Name of the group. Without it all are returned.
    type: str
  folder:
    description: Title of the folder to look in, one at the top. Without it and O(folder_uid), all are looked in.
    type: str
  folder_uid:
    description: Uid of the folder to look in.
    type: str
seealso:
  - module: mlops.onprem.grafana_alert_rule_group
"""

EXAMPLES = r"""
- name: Read the groups of a folder
  mlops.onprem.grafana_alert_rule_group_info:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
    folder: MLOps
  register: groups
"""

RETURN = r"""
alert_rule_groups:
  description: The groups, sorted by folder and name; an empty list when there is none.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    folder_uid:
      description: Uid of its folder; null where that is yet to be made.
      type: str
      returned: always
    interval:
      description: How often its rules are evaluated.
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
    rules:
      description: Its rules.
      type: list
      elements: dict
      returned: always
      contains:
        uid:
          description: Its uid; null where it is yet to be given.
          type: str
          returned: always
        title:
          description: Its title.
          type: str
          returned: always
        condition:
          description: The query or expression that decides.
          type: str
          returned: always
        for:
          description: How long the condition must hold.
          type: str
          returned: always
        keep_firing_for:
          description: How long it goes on firing afterwards.
          type: str
          returned: always
        no_data_state:
          description: What it is without data.
          type: str
          returned: always
        exec_err_state:
          description: What it is when a query fails.
          type: str
          returned: always
        labels:
          description: Its labels.
          type: dict
          returned: always
        annotations:
          description: Its annotations.
          type: dict
          returned: always
        paused:
          description: Whether it is paused.
          type: bool
          returned: always
        missing_series_evals_to_resolve:
          description: After how many evaluations a series that is gone counts as resolved.
          type: int
          returned: always
        notification_settings:
          description: Where its alerts go past the notification policies; null where those decide.
          type: dict
          returned: always
        data:
          description: Its queries and expressions with what Grafana adds, sorted by C(ref_id).
          type: list
          elements: dict
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
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.arguments import FOLDER, run
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.client import GrafanaClient
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.rule_groups import RuleGroups


def work(module: AnsibleModule, client: GrafanaClient) -> dict[str, Any]:
    """Read."""
    groups, params = RuleGroups(client, check=True), module.params
    folder = groups.folder(params) if params["folder"] or params["folder_uid"] else None
    return {"changed": False, "alert_rule_groups": groups.all(folder, params["name"])}


def unknown(_module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    return {"changed": False, "alert_rule_groups": []}


def main() -> None:
    run({**FOLDER, "name": {"type": "str"}}, work, unknown)


if __name__ == "__main__":
    main()
