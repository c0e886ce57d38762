#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: prefect_deployment
short_description: Manage a deployment of a flow in Prefect
version_added: 0.1.0
description:
  - Creates, changes or removes a deployment of a flow, with its schedules, parameters, limits and place to run.
  - A deployment is known by the names of its flow and its own. Its id stays the same when it changes.
  - Only what is given is compared; the rest is left as it is.
  - What it refers to, a work pool or a global limit, must exist; that is checked before anything is written.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.prefect
  - mlops.onprem.api
  - mlops.onprem.attributes
options:
  flow:
    description: Name of the flow. It is registered where it is missing.
    type: str
    required: true
  name:
    description: Name of the deployment.
    type: str
    required: true
  state:
    description:
      - V(present) creates the deployment where it is missing and changes what differs.
      - V(absent) removes it. The flow and the runs stay.
    type: str
    choices: [present, absent]
    default: present
  description:
    description: Description of the deployment.
    type: str
  version:
    description: Version of the deployment; each run records the one that it was started with.
    type: str
  tags:
    description: All tags of the deployment; the order doesn't matter.
    type: list
    elements: str
  paused:
    description: Whether its schedules start no runs. Runs can still be started by hand.
    type: bool
  entrypoint:
    description: File and function of the flow, such as V(train.py:train), relative to O(path).
    type: str
  path:
    description: Directory of the code at the worker, or in its storage.
    type: str
  pull_steps:
    description: All steps that fetch the code before a run.
    type: list
    elements: dict
  parameters:
    description: All parameters of the flow that the deployment sets, compared as data.
    type: dict
  parameter_openapi_schema:
    description: The flow's parameters as a JSON schema.
    type: dict
  enforce_parameter_schema:
    description: Whether Prefect refuses parameters that don't fit O(parameter_openapi_schema). It does, if not set.
    type: bool
  job_variables:
    description: All variables of the work pool's base job template that the deployment sets, compared as data.
    type: dict
  work_pool:
    description:
      - Name of the work pool that runs it. An empty text takes the deployment out of its pool.
      - Another pool means its default queue, unless O(work_queue) is given.
    type: str
  work_queue:
    description: Name of a queue of the work pool. Prefect creates it where it is missing.
    type: str
  concurrency_limit:
    description: How many of its runs may go on at once, by a limit of its own; V(-1) for none.
    type: int
  global_concurrency_limit:
    description: Name of a global concurrency limit that it shares with others. An empty text takes it out.
    type: str
  collision_strategy:
    description: What becomes of a run beyond the limit. V(enqueue) lets it wait, V(cancel_new) cancels it.
    type: str
    choices: [enqueue, cancel_new]
  grace_period:
    description: Seconds, from 60 to 86400, that a run's infrastructure gets to start before its place is given away.
    type: int
  schedules:
    description:
      - All schedules of the deployment; an empty list removes those that there are.
      - A schedule is known by its O(schedules[].slug), or else by its rule. What is not given of one is left as it is.
    type: list
    elements: dict
    suboptions:
      slug:
        description: A name for the schedule that stays the same when its rule changes.
        type: str
      cron:
        description: A cron expression, such as V(0 4 * * *).
        type: str
      day_or:
        description:
          - Whether a O(schedules[].cron) with a day of the month and one of the week means either. It does, if not set.
        type: bool
      interval:
        description: Seconds from one run to the next.
        type: float
      anchor_date:
        description: A time that O(schedules[].interval) counts from, with an offset, such as V(2026-01-01T06:00:00Z).
        type: str
      rrule:
        description:
          - A recurrence rule of iCalendar, such as V(FREQ=WEEKLY;BYDAY=MO).
          - Prefect adds a start to a rule without C(DTSTART), which is not taken for a difference.
        type: str
      timezone:
        description: The time zone that the rule is meant in, such as V(Europe/Berlin). Prefect takes UTC, if not set.
        type: str
      active:
        description: Whether it starts runs. A new one does, if not set.
        type: bool
      parameters:
        description: Parameters for its runs, over those of the deployment.
        type: dict
seealso:
  - module: mlops.onprem.prefect_deployment_info
  - module: mlops.onprem.prefect_work_pool
  - module: mlops.onprem.prefect_flow_run
"""

EXAMPLES = r"""
- name: Retrain every night, one run at a time
  mlops.onprem.prefect_deployment:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    flow: train
    name: phishing
    version: "12"
    tags: [phishing]
    entrypoint: train.py:train
    path: /srv/flows
    work_pool: training
    parameters:
      model: phishing
    concurrency_limit: 1
    collision_strategy: cancel_new
    schedules:
      - slug: nightly
        cron: 0 4 * * *
        timezone: Europe/Berlin
      - slug: weekly-in-full
        rrule: FREQ=WEEKLY;BYDAY=SU;BYHOUR=1
        parameters:
          full: true

- name: Stop its schedules for now
  mlops.onprem.prefect_deployment:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    flow: train
    name: phishing
    paused: true

- name: Remove it
  mlops.onprem.prefect_deployment:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    flow: train
    name: phishing
    state: absent
"""

RETURN = r"""
deployment:
  description: The deployment as it is now, or as it would be in check mode; null when it is absent.
  returned: success
  type: dict
  contains:
    id:
      description: Its id; null where it is yet to be made.
      type: str
      returned: always
    flow:
      description: Name of its flow.
      type: str
      returned: always
      sample: train
    name:
      description: Its name.
      type: str
      returned: always
      sample: phishing
    description:
      description: Its description.
      type: str
      returned: always
    version:
      description: Its version.
      type: str
      returned: always
      sample: "12"
    tags:
      description: Its tags, sorted.
      type: list
      elements: str
      returned: always
    paused:
      description: Whether its schedules start no runs.
      type: bool
      returned: always
    entrypoint:
      description: File and function of the flow.
      type: str
      returned: always
      sample: train.py:train
    path:
      description: Directory of the code.
      type: str
      returned: always
    pull_steps:
      description: The steps that fetch the code.
      type: list
      elements: dict
      returned: always
    parameters:
      description: The parameters that it sets.
      type: dict
      returned: always
    parameter_openapi_schema:
      description: The flow's parameters as a JSON schema.
      type: dict
      returned: always
    enforce_parameter_schema:
      description: Whether Prefect refuses parameters that don't fit the schema.
      type: bool
      returned: always
    job_variables:
      description: The variables of the base job template that it sets.
      type: dict
      returned: always
    work_pool:
      description: Name of its work pool; null without one.
      type: str
      returned: always
    work_queue:
      description: Name of its queue; null without a work pool.
      type: str
      returned: always
    concurrency_limit:
      description: Its own limit; null without one.
      type: int
      returned: always
    global_concurrency_limit:
      description: Name of the limit that it shares; null without one.
      type: str
      returned: always
    collision_strategy:
      description: What becomes of a run beyond the limit.
      type: str
      returned: always
      sample: enqueue
    grace_period:
      description: Seconds that a run's infrastructure gets to start; null for the server's setting.
      type: int
      returned: always
    schedules:
      description: Its schedules, with what belongs to their kind of rule.
      type: list
      elements: dict
      returned: always
      sample: [{"slug": "nightly", "active": true, "parameters": {}, "cron": "0 4 * * *", "timezone": "Europe/Berlin",
                "day_or": true}]
    status:
      description: V(ready) where something waits for its runs, else V(not_ready).
      type: str
      returned: always
      sample: ready
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
from ansible_collections.mlops.onprem.plugins.module_utils._prefect import schedules
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.arguments import outcome_result, run
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.client import PrefectClient
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.deployments import Deployments, as_new, parse


def work(module: AnsibleModule, client: PrefectClient) -> dict[str, Any]:
    """Converge."""
    deployments = Deployments(client, check=module.check_mode)
    wanted = parse(module.params)
    absent = module.params["state"] == "absent"
    outcome = deployments.absent(wanted.flow, wanted.name) if absent else deployments.present(wanted)
    return outcome_result(outcome, "deployment")


def unknown(module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    absent = module.params["state"] == "absent"
    return outcome_result(Outcome(False, {}, {}) if absent else as_new(parse(module.params)), "deployment")


def main() -> None:
    run(
        {
            "flow": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "description": {"type": "str"},
            "version": {"type": "str"},
            "tags": {"type": "list", "elements": "str"},
            "paused": {"type": "bool"},
            "entrypoint": {"type": "str"},
            "path": {"type": "str"},
            "pull_steps": {"type": "list", "elements": "dict"},
            "parameters": {"type": "dict"},
            "parameter_openapi_schema": {"type": "dict"},
            "enforce_parameter_schema": {"type": "bool"},
            "job_variables": {"type": "dict"},
            "work_pool": {"type": "str"},
            "work_queue": {"type": "str"},
            "concurrency_limit": {"type": "int"},
            "global_concurrency_limit": {"type": "str"},
            "collision_strategy": {"type": "str", "choices": ["enqueue", "cancel_new"]},
            "grace_period": {"type": "int"},
            "schedules": {"type": "list", "elements": "dict", "options": schedules.options()},
        },
        work,
        unknown,
        mutually_exclusive=[("concurrency_limit", "global_concurrency_limit")],
    )


if __name__ == "__main__":
    main()
