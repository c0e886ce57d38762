#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: prefect_deployment_info
short_description: Read deployments of Prefect
version_added: 0.1.0
description:
  - Reads deployments of flows with their schedules, parameters and limits.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.prefect
  - mlops.onprem.api
  - mlops.onprem.attributes.info
options:
  flow:
    description: Name of a flow, to read its deployments only.
    type: str
  name:
    description: Name of the deployments to read.
    type: str
  work_pool:
    description: Name of a work pool, to read its deployments only.
    type: str
  tags:
    description: Tags that the deployments must have, all of them.
    type: list
    elements: str
seealso:
  - module: mlops.onprem.prefect_deployment
"""

EXAMPLES = r"""
- name: Read all deployments
  mlops.onprem.prefect_deployment_info:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
  register: deployments

- name: Read one
  mlops.onprem.prefect_deployment_info:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    flow: train
    name: phishing
  register: phishing
"""

RETURN = r"""
deployments:
  description: The deployments that fit, sorted by flow and name.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Its id.
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
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.arguments import run
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.client import PrefectClient
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.comparison import masked
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.deployments import Deployments


def filters(params: dict[str, Any]) -> dict[str, Any]:
    """The options in the API's words."""
    made: dict[str, Any] = {}
    if params["flow"] is not None:
        made["flows"] = {"name": {"any_": [params["flow"]]}}
    if params["work_pool"] is not None:
        made["work_pools"] = {"name": {"any_": [params["work_pool"]]}}
    own = {}
    if params["name"] is not None:
        own["name"] = {"any_": [params["name"]]}
    if params["tags"]:
        own["tags"] = {"all_": params["tags"]}
    return made | ({"deployments": own} if own else {})


def work(module: AnsibleModule, client: PrefectClient) -> dict[str, Any]:
    """Read."""
    found = Deployments(client, check=True).all(filters(module.params))
    return {"changed": False, "deployments": masked(found)}


def unknown(_module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    return {"changed": False, "deployments": []}


def main() -> None:
    run(
        {
            "flow": {"type": "str"},
            "name": {"type": "str"},
            "work_pool": {"type": "str"},
            "tags": {"type": "list", "elements": "str"},
        },
        work,
        unknown,
    )


if __name__ == "__main__":
    main()
