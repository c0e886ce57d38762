#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: prefect_work_pool_info
short_description: Read work pools of Prefect
version_added: 0.1.0
description:
  - Reads work pools of Prefect with their queues.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.prefect
  - mlops.onprem.api
  - mlops.onprem.attributes.info
options:
  name:
    description: Name of one work pool. Without it all are returned.
    type: str
seealso:
  - module: mlops.onprem.prefect_work_pool
"""

EXAMPLES = r"""
- name: Read all work pools
  mlops.onprem.prefect_work_pool_info:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
  register: pools

- name: Read one
  mlops.onprem.prefect_work_pool_info:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    name: training
  register: training
"""

RETURN = r"""
work_pools:
  description: The work pools, sorted by name; an empty list when there is none of that name.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Its id.
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
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.arguments import run
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.client import PrefectClient
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.comparison import check_name, masked
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.work_pools import WorkPools


def work(module: AnsibleModule, client: PrefectClient) -> dict[str, Any]:
    """Read."""
    pools, name = WorkPools(client, check=True), module.params["name"]
    if name is None:
        found = pools.all()
    else:
        check_name("name", name)
        one = pools.find(name)
        found = [] if one is None else [one]
    return {"changed": False, "work_pools": masked(found)}


def unknown(_module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    return {"changed": False, "work_pools": []}


def main() -> None:
    run({"name": {"type": "str"}}, work, unknown)


if __name__ == "__main__":
    main()
