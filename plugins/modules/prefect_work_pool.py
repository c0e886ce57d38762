#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: prefect_work_pool
short_description: Manage a work pool of Prefect
version_added: 0.1.0
description:
  - Creates, changes or removes a work pool of Prefect, with its queues and the defaults of its job variables.
  - Only what is given is compared; the rest is left as it is.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.prefect
  - mlops.onprem.api
  - mlops.onprem.attributes
options:
  name:
    description: Name of the work pool. Prefect keeps names that begin with C(prefect) for itself.
    type: str
    required: true
  state:
    description:
      - V(present) creates the work pool where it is missing and changes what differs.
      - V(absent) removes it with its queues. Deployments stay, but without a place to run.
    type: str
    choices: [present, absent]
    default: present
  type:
    description:
      - What its workers start runs with, such as V(process), V(docker) or V(kubernetes).
      - Needed to create a work pool; Prefect can't change it afterwards, so a difference is an error.
    type: str
  description:
    description: Description of the work pool.
    type: str
  paused:
    description: Whether the work pool gives out no work.
    type: bool
  concurrency_limit:
    description: How many runs of the work pool may go on at once; V(-1) for no limit, V(0) for none at all.
    type: int
  base_job_template:
    description:
      - The whole base job template, compared as data.
      - Without it, a new work pool gets the one that the server knows for its O(type), as with Prefect's command line.
    type: dict
  job_variables:
    description:
      - Defaults of variables of the base job template, by name. Variables that are not named are left as they are.
    type: dict
  storage_configuration:
    description: Where and how bundles of code and results are stored. What is not given is left as it is.
    type: dict
    suboptions:
      bundle_upload_step:
        description: The step that uploads a bundle.
        type: dict
      bundle_execution_step:
        description: The step that runs a bundle.
        type: dict
      default_result_storage_block_id:
        description: Id of the block that stores results.
        type: str
  queues:
    description: Queues of the work pool. Others are left as they are, unless O(purge_queues).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the queue.
        type: str
        required: true
      state:
        description: Whether it is to be there. The queue V(default) can't be removed.
        type: str
        choices: [present, absent]
        default: present
      description:
        description: Description of the queue.
        type: str
      paused:
        description: Whether the queue gives out no work.
        type: bool
      concurrency_limit:
        description: How many runs of the queue may go on at once; V(-1) for no limit, V(0) for none at all.
        type: int
      priority:
        description: Its place among the queues; V(1) comes first. Prefect moves others to make room.
        type: int
  purge_queues:
    description: Whether to remove the queues that O(queues) doesn't name, except V(default).
    type: bool
    default: false
seealso:
  - module: mlops.onprem.prefect_work_pool_info
  - module: mlops.onprem.prefect_deployment
"""

EXAMPLES = r"""
- name: A pool of processes, with a queue that goes first
  mlops.onprem.prefect_work_pool:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    name: training
    type: process
    concurrency_limit: 4
    job_variables:
      stream_output: true
    queues:
      - name: retraining
        priority: 1
        concurrency_limit: 1

- name: Pause it
  mlops.onprem.prefect_work_pool:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    name: training
    paused: true

- name: Remove it with its queues
  mlops.onprem.prefect_work_pool:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    name: training
    state: absent
"""

RETURN = r"""
work_pool:
  description: The work pool as it is now, or as it would be in check mode; null when it is absent.
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
      sample: training
    type:
      description: What its workers start runs with.
      type: str
      returned: always
      sample: process
    description:
      description: Its description.
      type: str
      returned: always
    paused:
      description: Whether it gives out no work.
      type: bool
      returned: always
    concurrency_limit:
      description: How many runs may go on at once; null for no limit.
      type: int
      returned: always
    base_job_template:
      description: Its base job template.
      type: dict
      returned: always
    storage_configuration:
      description: Where and how bundles and results are stored.
      type: dict
      returned: always
    status:
      description: V(ready) where a worker polls it, V(not_ready) where none does, or V(paused).
      type: str
      returned: always
      sample: ready
    queues:
      description: Its queues in the order of their priorities.
      type: list
      elements: dict
      returned: always
      sample: [{"name": "default", "description": "", "paused": false, "concurrency_limit": null, "priority": 1,
                "status": "ready"}]
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
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.client import PrefectClient
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.work_pools import WorkPools, as_new, parse


def work(module: AnsibleModule, client: PrefectClient) -> dict[str, Any]:
    """Converge."""
    pools = WorkPools(client, check=module.check_mode)
    wanted = parse(module.params)
    absent = module.params["state"] == "absent"
    return outcome_result(pools.absent(wanted.name) if absent else pools.present(wanted), "work_pool")


def unknown(module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    wanted = parse(module.params)
    return outcome_result(Outcome(False, {}, {}) if module.params["state"] == "absent" else as_new(wanted), "work_pool")


def main() -> None:
    run(
        {
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "type": {"type": "str"},
            "description": {"type": "str"},
            "paused": {"type": "bool"},
            "concurrency_limit": {"type": "int"},
            "base_job_template": {"type": "dict"},
            "job_variables": {"type": "dict"},
            "storage_configuration": {
                "type": "dict",
                "options": {
                    "bundle_upload_step": {"type": "dict"},
                    "bundle_execution_step": {"type": "dict"},
                    "default_result_storage_block_id": {"type": "str"},
                },
            },
            "queues": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                    "description": {"type": "str"},
                    "paused": {"type": "bool"},
                    "concurrency_limit": {"type": "int"},
                    "priority": {"type": "int"},
                },
            },
            "purge_queues": {"type": "bool", "default": False},
        },
        work,
        unknown,
    )


if __name__ == "__main__":
    main()
