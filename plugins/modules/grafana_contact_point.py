#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_contact_point
short_description: Manage a contact point of Grafana's alerting
version_added: 0.1.0
description:
  - Creates, changes or removes a contact point with its integrations, such as webhooks or mail.
  - A contact point is declared as a whole; integrations that are not named are removed from it.
  - Changed secrets are noticed by their hashes, see O(hash_key).
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.grafana
  - mlops.onprem.grafana.alerting
  - mlops.onprem.grafana.hash
  - mlops.onprem.api
  - mlops.onprem.attributes
options:
  name:
    description: Name of the contact point.
    type: str
    required: true
  state:
    description:
      - V(present) makes it as declared.
      - V(absent) removes it, which is an error as long as a notification policy names it.
    type: str
    choices: [present, absent]
    default: present
  integrations:
    description:
      - The ways it tells, one at least with O(state=present).
      - One that is there already is found by its uid where that is given, else by its type, the most alike first.
    type: list
    elements: dict
    default: []
    suboptions:
      uid:
        description: Uid of the integration; without it a new one gets one from Grafana.
        type: str
      type:
        description: Type of the integration, such as V(webhook), V(email) or V(slack).
        type: str
        required: true
      settings:
        description:
          - Its settings by Grafana's own names, such as C(url) and C(httpMethod) of a webhook, all but the secret ones.
          - It is an error to give what Grafana hides when read, or credentials in an address.
        type: dict
        default: {}
      secure_settings:
        description:
          - Its secret settings, such as C(password) or C(authorization_credentials) of a webhook.
          - Without it, secrets that are there stay. With it, secrets that it doesn't name are removed.
          - A secret within a setting goes into a dictionary, as C(secret) goes into C(hmacConfig).
        type: dict
      disable_resolve_message:
        description: Whether it doesn't tell when an alert is over.
        type: bool
        default: false
notes:
  - Grafana unlocks nothing that is locked. Where O(locked) becomes V(false), each integration is made anew under its
    own uid, which needs its secrets; for a moment two of them tell.
seealso:
  - module: mlops.onprem.grafana_contact_point_info
  - module: mlops.onprem.grafana_notification_policy
  - module: mlops.onprem.grafana_alert_rule_group
"""

EXAMPLES = r"""
- name: Tell the lifecycle controller
  mlops.onprem.grafana_contact_point:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
    name: lifecycle
    hash_key: "{{ grafana_hash_key }}"
    integrations:
      - type: webhook
        settings:
          url: http://lifecycle:8080/alerts/grafana
          authorization_scheme: Bearer
        secure_settings:
          authorization_credentials: "{{ lifecycle_token }}"

- name: Remove it
  mlops.onprem.grafana_contact_point:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
    name: lifecycle
    state: absent
"""

RETURN = r"""
contact_point:
  description: The contact point as it is now, or as it would be in check mode; null when it is absent.
  returned: success
  type: dict
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
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.arguments import (
    HASH_KEY,
    LOCKED,
    STATE,
    outcome_result,
    run,
)
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.client import GrafanaClient
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.contact_points import (
    ContactPoints,
    as_new,
    parse_point,
)
from ansible_collections.mlops.onprem.plugins.module_utils._outcome import Outcome

KEY = "contact_point"


def work(module: AnsibleModule, client: GrafanaClient) -> dict[str, Any]:
    """Converge."""
    wanted = parse_point(module.params)
    points = ContactPoints(client, check=module.check_mode)
    if module.params["state"] == "absent":
        return outcome_result(points.absent(wanted.name), KEY)
    outcome, warnings = points.present(wanted)
    for warning in warnings:
        module.warn(warning)
    return outcome_result(outcome, KEY)


def unknown(module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    wanted = parse_point(module.params)
    return outcome_result(Outcome(False, {}, {}) if module.params["state"] == "absent" else as_new(wanted), KEY)


def main() -> None:
    integration = {
        "uid": {"type": "str"},
        "type": {"type": "str", "required": True},
        "settings": {"type": "dict", "default": {}},
        "secure_settings": {"type": "dict", "no_log": True},
        "disable_resolve_message": {"type": "bool", "default": False},
    }
    run(
        {
            "name": {"type": "str", "required": True},
            "state": STATE,
            "locked": LOCKED,
            "hash_key": HASH_KEY,
            "integrations": {"type": "list", "elements": "dict", "default": [], "options": integration},
        },
        work,
        unknown,
    )


if __name__ == "__main__":
    main()
