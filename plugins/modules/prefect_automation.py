#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: prefect_automation
short_description: Manage an automation of Prefect
version_added: 0.1.0
description:
  - Creates, changes or removes an automation of Prefect, which acts on events, or where an expected one doesn't come.
  - Only what is given is compared; the rest is left as it is, within a trigger and an action, too.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.prefect
  - mlops.onprem.api
  - mlops.onprem.attributes
options:
  name:
    description: Name of the automation. Where several have it, that is an error.
    type: str
    required: true
  state:
    description: V(present) creates the automation where it is missing and changes what differs; V(absent) removes it.
    type: str
    choices: [present, absent]
    default: present
  description:
    description: Description of the automation.
    type: str
  enabled:
    description: Whether it acts. A new one does, if not set.
    type: bool
  tags:
    description: All tags of the automation; the order doesn't matter.
    type: list
    elements: str
  trigger:
    description:
      - What sets it off, as in Prefect's API. C(match) and C(match_related) are compared as a whole.
      - Needed to create an automation.
    type: dict
  actions:
    description: All that it does, as in Prefect's API. Needed to create an automation.
    type: list
    elements: dict
  actions_on_trigger:
    description: What it does besides when it is set off.
    type: list
    elements: dict
  actions_on_resolve:
    description: What it does when what set it off is over.
    type: list
    elements: dict
seealso:
  - module: mlops.onprem.prefect_automation_info
"""

EXAMPLES = r"""
- name: A run of which nothing is heard any more has crashed
  mlops.onprem.prefect_automation:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    name: Runs that went silent
    trigger:
      type: event
      posture: Proactive
      match: {prefect.resource.id: [prefect.flow-run.*]}
      for_each: [prefect.resource.id]
      after: [prefect.flow-run.heartbeat]
      expect:
        - prefect.flow-run.heartbeat
        - prefect.flow-run.Completed
        - prefect.flow-run.Failed
        - prefect.flow-run.Cancelled
        - prefect.flow-run.Crashed
      threshold: 1
      within: 90
    actions:
      - type: change-flow-run-state
        state: CRASHED
        message: Nothing was heard of it

- name: Switch it off for now
  mlops.onprem.prefect_automation:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    name: Runs that went silent
    enabled: false

- name: Remove it
  mlops.onprem.prefect_automation:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    name: Runs that went silent
    state: absent
"""

RETURN = r"""
automation:
  description: The automation as it is now, or as it would be in check mode; null when it is absent.
  returned: success
  type: dict
  contains:
    id:
      description: Its id; null where it is yet to be made.
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
from ansible_collections.mlops.onprem.plugins.module_utils._outcome import Outcome
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.arguments import outcome_result, run
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.automations import Automations, as_new, parse
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.client import PrefectClient


def work(module: AnsibleModule, client: PrefectClient) -> dict[str, Any]:
    """Converge."""
    automations = Automations(client, check=module.check_mode)
    wanted = parse(module.params)
    absent = module.params["state"] == "absent"
    return outcome_result(automations.absent(wanted.name) if absent else automations.present(wanted), "automation")


def unknown(module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    absent = module.params["state"] == "absent"
    return outcome_result(Outcome(False, {}, {}) if absent else as_new(parse(module.params)), "automation")


def main() -> None:
    run(
        {
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "description": {"type": "str"},
            "enabled": {"type": "bool"},
            "tags": {"type": "list", "elements": "str"},
            "trigger": {"type": "dict"},
            "actions": {"type": "list", "elements": "dict"},
            "actions_on_trigger": {"type": "list", "elements": "dict"},
            "actions_on_resolve": {"type": "list", "elements": "dict"},
        },
        work,
        unknown,
    )


if __name__ == "__main__":
    main()
