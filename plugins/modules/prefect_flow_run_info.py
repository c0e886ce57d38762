#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: prefect_flow_run_info
short_description: Read runs of flows in Prefect
version_added: 0.1.0
description:
  - Reads runs of flows, the newest first; on demand with the task runs that failed and the last log lines.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.prefect
  - mlops.onprem.api
  - mlops.onprem.attributes.info
options:
  id:
    description: Id of one run.
    type: str
  flow:
    description: Name of a flow, to read its runs only.
    type: str
  deployment:
    description: Name of a deployment, to read its runs only.
    type: str
  idempotency_key:
    description: The key that the run was started with.
    type: str
  states:
    description: The kinds of state to read.
    type: list
    elements: str
    choices: [scheduled, pending, running, paused, cancelling, completed, failed, crashed, cancelled]
  tags:
    description: Tags that the runs must have, all of them.
    type: list
    elements: str
  limit:
    description: How many runs to read at most.
    type: int
    default: 20
  details:
    description: Whether to return the failed task runs and the last log lines of each run.
    type: bool
    default: false
  log_lines:
    description: How many of the last log lines to return with O(details); V(0) for none.
    type: int
    default: 100
  log_level:
    description: The least important lines to return.
    type: str
    choices: [debug, info, warning, error, critical]
    default: info
seealso:
  - module: mlops.onprem.prefect_flow_run
"""

EXAMPLES = r"""
- name: Read the last runs that didn't end well
  mlops.onprem.prefect_flow_run_info:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    flow: train
    states: [failed, crashed]
    limit: 5
  register: failures

- name: Read one, with what went wrong
  mlops.onprem.prefect_flow_run_info:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    flow: train
    idempotency_key: phishing-2026-11
    details: true
    log_lines: 20
  register: november
"""

RETURN = r"""
flow_runs:
  description: The runs that fit, the newest first; an empty list when there is none.
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
      sample: dexterous-stork
    flow:
      description: Name of its flow.
      type: str
      returned: always
      sample: train
    deployment:
      description: Name of its deployment; null where that is no longer there.
      type: str
      returned: always
      sample: phishing
    deployment_version:
      description: Version of the deployment that it was started with.
      type: str
      returned: always
    state:
      description:
        - What kind of state it is in, one of V(scheduled), V(pending), V(running), V(paused), V(cancelling),
          V(completed), V(failed), V(crashed) and V(cancelled).
      type: str
      returned: always
      sample: completed
    state_name:
      description: What Prefect or the flow calls the state, such as V(Late) or V(AwaitingRetry).
      type: str
      returned: always
      sample: Completed
    state_message:
      description: What is said about the state.
      type: str
      returned: always
    parameters:
      description: Its parameters.
      type: dict
      returned: always
    tags:
      description: Its tags, sorted.
      type: list
      elements: str
      returned: always
    idempotency_key:
      description: Its idempotency key.
      type: str
      returned: always
    job_variables:
      description: The job variables that were set for it.
      type: dict
      returned: always
    work_pool:
      description: Name of its work pool.
      type: str
      returned: always
    work_queue:
      description: Name of its queue.
      type: str
      returned: always
    run_count:
      description: How often it was begun, repeats included.
      type: int
      returned: always
    run_time:
      description: Seconds that it ran.
      type: float
      returned: always
    created:
      description: When it was created.
      type: str
      returned: always
    expected_start:
      description: When it is, or was, to start.
      type: str
      returned: always
    started:
      description: When it started.
      type: str
      returned: always
    ended:
      description: When it ended.
      type: str
      returned: always
    failed_task_runs:
      description: The task runs that failed or crashed, the last to end first, 200 at most.
      returned: with O(details)
      type: list
      elements: dict
      sample: [{"name": "load-b7c", "state": "failed", "state_name": "Failed",
                "state_message": "Task run encountered an exception ValueError", "run_count": 1,
                "started": "2026-11-29T05:55:21.161834Z", "ended": "2026-11-29T05:55:21.168745Z"}]
    failed_task_run_count:
      description: How many task runs failed or crashed.
      returned: with O(details)
      type: int
    logs:
      description: The last log lines of the run and its tasks, in order.
      returned: with O(details)
      type: list
      elements: dict
      sample: [{"time": "2026-11-29T05:55:22.226923Z", "level": "info", "message": "Finished in state Completed()",
                "task_run_id": null}]
    logs_truncated:
      description: Whether there are more log lines than were returned.
      returned: with O(details)
      type: bool
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
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.flow_runs import LEVELS, STATES, FlowRuns, check_id


def filters(params: dict[str, Any]) -> dict[str, Any]:
    """The options in the API's words."""
    made: dict[str, Any] = {}
    for option, key in (("flow", "flows"), ("deployment", "deployments")):
        if params[option] is not None:
            made[key] = {"name": {"any_": [params[option]]}}
    own: dict[str, Any] = {}
    if params["id"] is not None:
        own["id"] = {"any_": [check_id("id", params["id"])]}
    if params["idempotency_key"] is not None:
        own["idempotency_key"] = {"any_": [params["idempotency_key"]]}
    if params["states"]:
        own["state"] = {"type": {"any_": [state.upper() for state in params["states"]]}}
    if params["tags"]:
        own["tags"] = {"all_": params["tags"]}
    return made | ({"flow_runs": own} if own else {})


def work(module: AnsibleModule, client: PrefectClient) -> dict[str, Any]:
    """Read."""
    params, runs = module.params, FlowRuns(client, check=True)
    found = runs.search(filters(params), params["limit"])
    if params["details"]:
        level = LEVELS[params["log_level"]]
        found = [one | runs.report(one, lines=params["log_lines"], level=level) for one in found]
    return {"changed": False, "flow_runs": masked(found)}


def unknown(_module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    return {"changed": False, "flow_runs": []}


def main() -> None:
    run(
        {
            "id": {"type": "str"},
            "flow": {"type": "str"},
            "deployment": {"type": "str"},
            "idempotency_key": {"type": "str", "no_log": False},
            "states": {"type": "list", "elements": "str", "choices": list(STATES)},
            "tags": {"type": "list", "elements": "str"},
            "limit": {"type": "int", "default": 20},
            "details": {"type": "bool", "default": False},
            "log_lines": {"type": "int", "default": 100},
            "log_level": {"type": "str", "choices": list(LEVELS), "default": "info"},
        },
        work,
        unknown,
    )


if __name__ == "__main__":
    main()
