#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: workload_info
short_description: What runs where, and whether it is healthy
version_added: 0.1.0
description:
  - Tells what a namespace's workloads are and what their tasks do. Can also wait until all are healthy.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.workload
  - mlops.onprem.workload.attributes
attributes:
  check_mode:
    description: Changes nothing, in check mode and out of it.
    support: full
  diff_mode:
    description: Returns what changed, or would change, in diff mode.
    support: N/A
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
options:
  set:
    description: Only the workloads of this set.
    type: str
  names:
    description: Only the workloads of these names. One that isn't there counts as not healthy.
    type: list
    elements: str
  healthy_within:
    description:
      - Seconds to wait until all of them are healthy (jobs completed). The module fails if they aren't by then, with
        the last log lines of those that aren't.
      - Without it the module doesn't wait, and doesn't fail because of what it sees.
    type: float
seealso:
  - module: mlops.onprem.workload
"""

EXAMPLES = r"""
- name: What runs
  mlops.onprem.workload_info:
    namespace: "{{ mlops_name }}"

- name: Be sure that the platform is healthy
  mlops.onprem.workload_info:
    namespace: "{{ mlops_name }}"
    set: platform
    healthy_within: 60
"""

RETURN = r"""
workloads:
  description: The workloads, by set and name.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the workload.
      type: str
    set_name:
      description: The set that it belongs to.
      type: str
    kind:
      description: C(service) or C(job).
      type: str
    image:
      description: The image's name.
      type: str
    zone:
      description: The zone where others reach it.
      type: str
    replicas:
      description: How many tasks there should be.
      type: int
    routes:
      description: Its routes at the gateway, with the full host and the number of the port.
      type: list
      elements: dict
    metrics:
      description: Port and path of its metrics.
      type: dict
    labels:
      description: Its own labels.
      type: dict
    status:
      description: C(healthy), C(completed), C(starting) or C(failed).
      type: str
    healthy:
      description: Whether it is healthy or, for a job, completed.
      type: bool
    tasks:
      description: Its tasks, each with C(id), C(node), C(state), C(healthy), C(addresses) by zone, C(error),
        C(since), C(container).
      type: list
      elements: dict
problems:
  description: The workloads that are not healthy, and why.
  returned: on failure
  type: list
  elements: str
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._workload import Backend, Observed, WorkloadError
from ansible_collections.mlops.onprem.plugins.module_utils._workload.backends import backend
from ansible_collections.mlops.onprem.plugins.module_utils._workload.options import CLUSTER


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **CLUSTER,
            "set": {"type": "str"},
            "names": {"type": "list", "elements": "str"},
            "healthy_within": {"type": "float"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        cluster = backend(
            params["target"],
            params["namespace"],
            docker_host=params["docker_host"],
            kubernetes=params["kubernetes"],
        )
        found, problems = look(cluster, params)
        facts = {"workloads": [item.to_dict() for item in found]}
        if problems:
            lines = ["These are not healthy:", *(f"- {problem}" for problem in problems), *logs(cluster, found)]
            module.fail_json(msg="\n".join(lines), problems=problems, **facts)
    except WorkloadError as error:
        module.fail_json(msg=str(error), problems=error.problems)
    module.exit_json(changed=False, **facts)


def look(cluster: Backend, params: dict[str, Any]) -> tuple[list[Observed], list[str]]:
    """The workloads, and the problems that remain when the time to wait is over."""
    begin = time.monotonic()
    while True:
        found = [
            item for item in cluster.observe(params["set"]) if params["names"] is None or item.name in params["names"]
        ]
        if params["healthy_within"] is None:
            return found, []
        names = {item.name for item in found}
        problems = [f"{name}: there is no such workload" for name in params["names"] or () if name not in names]
        problems += [f"{item.name}: {reason(item)}" for item in found if not item.healthy]
        if not problems or time.monotonic() - begin > params["healthy_within"]:
            return found, problems
        time.sleep(0.5)


def reason(item: Observed) -> str:
    """What its tasks are doing instead of being healthy."""
    states = [f"{task.state} on {task.node}{f': {task.error}' if task.error else ''}" for task in item.tasks]
    return f"{item.status} ({'; '.join(states) or 'no task'})"


def logs(cluster: Backend, found: list[Observed]) -> list[str]:
    """The last log lines of those that are not healthy."""
    lines = []
    for item in found:
        if not item.healthy:
            lines += [f"Last log lines of {item.name}:", *(f"    {line}" for line in cluster.logs(item.name, lines=20))]
    return lines


if __name__ == "__main__":
    main()
