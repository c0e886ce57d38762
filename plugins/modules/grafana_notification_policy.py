#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_notification_policy
short_description: Manage the tree of notification policies of Grafana's alerting
version_added: 0.1.0
description:
  - Sets the whole tree of notification policies of an organisation, which says which alerts go to which contact point.
  - An organisation has one tree, and it is declared as a whole; routes that are not named are removed.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.grafana
  - mlops.onprem.grafana.alerting
  - mlops.onprem.api
  - mlops.onprem.attributes
options:
  state:
    description:
      - V(present) makes the tree as declared.
      - V(absent) sets it back to what a new organisation has, unlocked.
    type: str
    choices: [present, absent]
    default: present
  receiver:
    description: The contact point that gets what no route takes. Needed with O(state=present).
    type: str
  group_by:
    description: The labels that group alerts; without them all alerts are one group. V(...) groups by all labels.
    type: list
    elements: str
    default: [grafana_folder, alertname]
  group_wait:
    description:
      - How long a new group waits for more alerts, such as V(30s). Without it, what Grafana has, as for the others.
    type: str
  group_interval:
    description: How long a group waits before it tells of new alerts.
    type: str
  repeat_interval:
    description: How long until it tells of the same alerts again.
    type: str
  routes:
    description:
      - The routes, tried in this order, each a dictionary with some of the keys C(receiver), C(matchers), C(continue),
        C(group_by), C(group_wait), C(group_interval), C(repeat_interval), C(mute_time_intervals),
        C(active_time_intervals) and C(routes), which are those below it.
      - A matcher is a text such as V(severity=critical) with one of the operators C(=), C(!=), C(=~) and C(!~), or has
        its three parts in a list, or in a dictionary with C(label), C(operator) and C(value).
    type: list
    elements: dict
    default: []
notes:
  - Grafana unlocks nothing that is locked. Where O(locked) becomes V(false), the tree is set back first, so for a
    moment the default policy tells.
seealso:
  - module: mlops.onprem.grafana_notification_policy_info
  - module: mlops.onprem.grafana_contact_point
  - module: mlops.onprem.grafana_alert_rule_group
"""

EXAMPLES = r"""
- name: Drift goes to the lifecycle controller, everything else by mail
  mlops.onprem.grafana_notification_policy:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
    receiver: grafana-default-email
    routes:
      - receiver: lifecycle
        matchers: ["mlops=drift"]
        group_by: [model, version]
        group_wait: 0s
        repeat_interval: 1h

- name: Back to what a new organisation has
  mlops.onprem.grafana_notification_policy:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
    state: absent
"""

RETURN = r"""
notification_policy:
  description: The tree as it is now, or as it would be in check mode.
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
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.arguments import LOCKED, STATE, outcome_result, run
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.client import GrafanaClient
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.policies import parse
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.policy_trees import PolicyTree, as_new
from ansible_collections.mlops.onprem.plugins.module_utils._outcome import Outcome

KEY = "notification_policy"


def work(module: AnsibleModule, client: GrafanaClient) -> dict[str, Any]:
    """Converge."""
    if module.params["state"] == "absent":
        return outcome_result(PolicyTree(client, check=module.check_mode).absent(), KEY)
    wanted = parse(module.params)
    tree = PolicyTree(client, check=module.check_mode)
    return outcome_result(tree.present(wanted, locked=module.params["locked"]), KEY)


def unknown(module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    if module.params["state"] == "absent":
        return outcome_result(Outcome(False, {}, {}), KEY)
    return outcome_result(as_new(parse(module.params), module.params), KEY)


def main() -> None:
    run(
        {
            "state": STATE,
            "locked": LOCKED,
            "receiver": {"type": "str"},
            "group_by": {"type": "list", "elements": "str", "default": ["grafana_folder", "alertname"]},
            "group_wait": {"type": "str"},
            "group_interval": {"type": "str"},
            "repeat_interval": {"type": "str"},
            "routes": {"type": "list", "elements": "dict", "default": []},
        },
        work,
        unknown,
        required_if=[("state", "present", ("receiver",))],
    )


if __name__ == "__main__":
    main()
