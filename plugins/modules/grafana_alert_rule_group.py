#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_alert_rule_group
short_description: Manage a group of alert rules of Grafana
version_added: 0.1.0
description:
  - Creates, changes or removes a group of Grafana's own alert rules, or removes the groups of a folder that are no
    longer declared.
  - A group is declared as a whole, with its interval and all its rules.
  - Compared is what Grafana would store, so that its own additions are no change.
  - A rule that is there already keeps its uid and so its state; it is found by its title, or by O(rules[].uid).
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.grafana
  - mlops.onprem.grafana.alerting
  - mlops.onprem.grafana.folder
  - mlops.onprem.api
  - mlops.onprem.attributes
options:
  name:
    description: Name of the group, without slashes. Needed unless O(state=pruned).
    type: str
  state:
    description:
      - V(present) makes the group as declared; rules that O(rules) doesn't name are removed from it.
      - V(absent) removes it with its rules.
      - V(pruned) removes all groups of the folder but those in O(keep).
    type: str
    choices: [present, absent, pruned]
    default: present
  keep:
    description: Names of the groups to keep. Needed with O(state=pruned).
    type: list
    elements: str
  interval:
    description:
      - How often the rules are evaluated, such as V(1m), or a number of seconds.
      - It must be a multiple of the server's own interval, 10 seconds unless set otherwise.
    type: str
    default: 1m
  rules:
    description:
      - The rules of the group, one at least with O(state=present).
      - Their order counts from Grafana 11.5.2 on; older servers keep them in the order in which they were made, and the
        successor of the provisioning API knows no order.
    type: list
    elements: dict
    default: []
    suboptions:
      title:
        description: Title of the rule, unique in its folder.
        type: str
        required: true
      uid:
        description: Uid of the rule; without it a new rule gets one from Grafana, and one that is there keeps its own.
        type: str
      condition:
        description: The C(ref_id) of the query or expression that decides. The rule fires where it is not 0.
        type: str
        required: true
      data:
        description: Queries and expressions.
        type: list
        elements: dict
        required: true
        suboptions:
          ref_id:
            description: Name of the query within the rule, such as V(A).
            type: str
            required: true
          datasource_uid:
            description: Uid of the data source to ask; the default is for expressions.
            type: str
            default: __expr__
          relative_time_range:
            description:
              - What the query looks at, counted back from now; without it, the last 10 minutes.
              - Expressions have none.
            type: dict
            suboptions:
              from:
                description: Where it begins, as a duration such as V(10m) or a number of seconds.
                type: str
                required: true
              to:
                description: Where it ends.
                type: str
                default: "0"
          query_type:
            description: Type of the query, for data sources that have several.
            type: str
            default: ""
          model:
            description:
              - The query itself, as the data source takes it, or the expression.
              - Grafana adds V(intervalMs=1000) and V(maxDataPoints=43200) where they are missing.
            type: dict
            required: true
      for:
        description: How long the condition must hold before the rule fires, such as V(2m).
        type: str
        default: 0s
      keep_firing_for:
        description: How long the rule goes on firing after the condition holds no more. Grafana 11.6 and newer.
        type: str
        default: 0s
      no_data_state:
        description: What the rule is when its queries return nothing.
        type: str
        choices: [NoData, Alerting, OK, KeepLast]
        default: NoData
      exec_err_state:
        description: What the rule is when a query fails.
        type: str
        choices: [Error, Alerting, OK, KeepLast]
        default: Error
      labels:
        description: Labels of its alerts, by which notification policies find them.
        type: dict
        default: {}
      annotations:
        description: Annotations of its alerts, such as C(summary).
        type: dict
        default: {}
      paused:
        description: Whether the rule is paused; without it, a new rule isn't, and one that is there stays as it is.
        type: bool
      missing_series_evals_to_resolve:
        description: After how many evaluations a series that is gone counts as resolved. Grafana 12 and newer.
        type: int
      notification_settings:
        description:
          - Sends the rule's alerts to one contact point, past the notification policies. Grafana 10.4 and newer.
        type: dict
        suboptions:
          receiver:
            description: Name of the contact point.
            type: str
            required: true
          group_by:
            description: The labels that group alerts.
            type: list
            elements: str
          group_wait:
            description: How long a new group waits for more alerts.
            type: str
          group_interval:
            description: How long a group waits before it tells of new alerts.
            type: str
          repeat_interval:
            description: How long until it tells of the same alerts again.
            type: str
          mute_time_intervals:
            description: Names of the time intervals in which it is silent.
            type: list
            elements: str
          active_time_intervals:
            description: Names of the time intervals outside of which it is silent.
            type: list
            elements: str
seealso:
  - module: mlops.onprem.grafana_alert_rule_group_info
  - module: mlops.onprem.grafana_contact_point
  - module: mlops.onprem.grafana_notification_policy
  - module: mlops.onprem.grafana_data_source
"""

EXAMPLES = r"""
- name: Tell when a model's predictions drift
  mlops.onprem.grafana_alert_rule_group:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
    folder: MLOps
    name: drift
    interval: 10s
    rules:
      - title: Predictions drift
        for: 1m
        condition: drifts
        data:
          - ref_id: ratio
            datasource_uid: prometheus
            model:
              expr: max by (model, version) (mlops_drift_score_ratio)
              instant: true
          - ref_id: drifts
            model:
              type: threshold
              expression: ratio
              conditions:
                - evaluator:
                    type: gt
                    params: [1]
        no_data_state: OK
        labels:
          mlops: drift
        annotations:
          summary: "{{ '{{ $labels.model }} drifts' }}"

- name: Keep no other groups in the folder
  mlops.onprem.grafana_alert_rule_group:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
    folder: MLOps
    state: pruned
    keep: [drift]

- name: Remove the group
  mlops.onprem.grafana_alert_rule_group:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
    folder: MLOps
    name: drift
    state: absent
"""

RETURN = r"""
alert_rule_group:
  description: The group as it is now, or as it would be in check mode; null when it is absent, or with O(state=pruned).
  returned: success
  type: dict
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
removed:
  description: The names of the groups that were removed, or would be in check mode.
  returned: when O(state=pruned)
  type: list
  elements: str
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
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.arguments import (
    FOLDER,
    KEEP,
    LOCKED,
    PRUNED,
    outcome_result,
    pruned_result,
    run,
)
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.client import GrafanaClient
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.rule_groups import RuleGroups, as_new, parse_group
from ansible_collections.mlops.onprem.plugins.module_utils._outcome import Outcome

KEY = "alert_rule_group"


def work(module: AnsibleModule, client: GrafanaClient) -> dict[str, Any]:
    """Converge."""
    params = module.params
    wanted = None if params["state"] == "pruned" else parse_group(params)
    groups = RuleGroups(client, check=module.check_mode)
    folder = groups.folder(params)
    if wanted is None:
        return pruned_result(groups.prune(params["keep"], folder), KEY)
    if params["state"] == "absent":
        return outcome_result(groups.absent(wanted.name, folder), KEY)
    return outcome_result(groups.present(wanted, folder), KEY)


def unknown(module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    if module.params["state"] == "pruned":
        return pruned_result(Outcome(False, {}, {}), KEY)
    wanted = parse_group(module.params)
    nothing = module.params["state"] == "absent"
    return outcome_result(Outcome(False, {}, {}) if nothing else as_new(wanted, module.params), KEY)


def main() -> None:
    names = {"type": "list", "elements": "str"}
    settings = {
        "receiver": {"type": "str", "required": True},
        "group_by": names,
        "group_wait": {"type": "str"},
        "group_interval": {"type": "str"},
        "repeat_interval": {"type": "str"},
        "mute_time_intervals": names,
        "active_time_intervals": names,
    }
    times = {"from": {"type": "str", "required": True}, "to": {"type": "str", "default": "0"}}
    query = {
        "ref_id": {"type": "str", "required": True},
        "datasource_uid": {"type": "str", "default": "__expr__"},
        "relative_time_range": {"type": "dict", "options": times},
        "query_type": {"type": "str", "default": ""},
        "model": {"type": "dict", "required": True},
    }
    rule = {
        "title": {"type": "str", "required": True},
        "uid": {"type": "str"},
        "condition": {"type": "str", "required": True},
        "data": {"type": "list", "elements": "dict", "required": True, "options": query},
        "for": {"type": "str", "default": "0s"},
        "keep_firing_for": {"type": "str", "default": "0s"},
        "no_data_state": {"type": "str", "choices": ["NoData", "Alerting", "OK", "KeepLast"], "default": "NoData"},
        "exec_err_state": {"type": "str", "choices": ["Error", "Alerting", "OK", "KeepLast"], "default": "Error"},
        "labels": {"type": "dict", "default": {}},
        "annotations": {"type": "dict", "default": {}},
        "paused": {"type": "bool"},
        "missing_series_evals_to_resolve": {"type": "int"},
        "notification_settings": {"type": "dict", "options": settings},
    }
    run(
        {
            **FOLDER,
            "name": {"type": "str"},
            "state": PRUNED,
            "keep": KEEP,
            "locked": LOCKED,
            "interval": {"type": "str", "default": "1m"},
            "rules": {"type": "list", "elements": "dict", "default": [], "options": rule},
        },
        work,
        unknown,
        required_one_of=[("folder", "folder_uid")],
        required_if=[("state", "present", ("name",)), ("state", "absent", ("name",)), ("state", "pruned", ("keep",))],
    )


if __name__ == "__main__":
    main()
