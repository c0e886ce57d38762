#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: prefect_flow_run
short_description: Start, await or cancel a run of a flow in Prefect
version_added: 0.1.0
description:
  - Starts a run of a deployment, waits until it has ended, and tells how it went, with the task runs that failed and
    the last log lines.
  - A flow can end C(Completed) although tasks of it failed. O(fail_when_tasks_failed) makes that an error.
  - A run is known by its O(idempotency_key). The same key again starts no second run, but awaits and reports the first.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.prefect
  - mlops.onprem.api
  - mlops.onprem.attributes
options:
  flow:
    description: Name of the flow.
    type: str
  deployment:
    description: Name of the deployment to run.
    type: str
  idempotency_key:
    description:
      - What makes this run the one that is meant, such as the version of the data that it is for.
      - It counts for all deployments of a flow. For a run each time, make it from the time.
    type: str
  id:
    description: Id of a run that is there already, in place of O(flow), O(deployment) and O(idempotency_key).
    type: str
  state:
    description:
      - V(present) starts the run, unless it is there.
      - V(cancelled) stops the run; one that has ended, or never was, is fine.
      - V(absent) removes the run from the server's records, with its task runs and logs. It doesn't stop it.
    type: str
    choices: [present, cancelled, absent]
    default: present
  parameters:
    description: Parameters of the run, over those of the deployment.
    type: dict
  name:
    description: Name of the run. Prefect makes one up, if not set.
    type: str
  tags:
    description: Tags of the run, beside those of the deployment.
    type: list
    elements: str
  job_variables:
    description: Variables of the work pool's base job template for this run, over those of the deployment.
    type: dict
  work_queue:
    description: Name of a queue of the deployment's work pool. Prefect creates it where it is missing.
    type: str
  start_at:
    description: When to start it, as a time with an offset, such as V(2026-01-01T06:00:00Z). At once, if not set.
    type: str
  wait:
    description: Whether to wait until the run has ended. In check mode nothing is waited for.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait for the end at most. The run goes on afterwards, but the task fails.
    type: float
    default: 3600
  poll_interval:
    description: Seconds from one look at the run to the next.
    type: float
    default: 2
  fail_when_unsuccessful:
    description: Whether the task fails when the run has ended other than C(Completed). For O(state=present) only.
    type: bool
    default: true
  fail_when_tasks_failed:
    description: Whether the task fails when task runs failed, however the run has ended. For O(state=present) only.
    type: bool
    default: false
  log_lines:
    description: How many of the last log lines to return; V(0) for none.
    type: int
    default: 100
  log_level:
    description: The least important lines to return.
    type: str
    choices: [debug, info, warning, error, critical]
    default: info
seealso:
  - module: mlops.onprem.prefect_flow_run_info
  - module: mlops.onprem.prefect_deployment
"""

EXAMPLES = r"""
- name: Train on this month's data, once, and wait for it
  mlops.onprem.prefect_flow_run:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    flow: train
    deployment: phishing
    idempotency_key: phishing-2026-11
    parameters:
      rows: 3
    wait_timeout: 900
    fail_when_tasks_failed: true
  register: training

- name: Plan another run and don't wait for it
  mlops.onprem.prefect_flow_run:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    flow: train
    deployment: phishing
    idempotency_key: phishing-2026-12
    start_at: "2030-01-01T06:00:00Z"
    wait: false

- name: Change one's mind
  mlops.onprem.prefect_flow_run:
    api_url: http://prefect.localhost/api
    auth_string: "{{ prefect_auth_string }}"
    flow: train
    deployment: phishing
    idempotency_key: phishing-2026-12
    state: cancelled
"""

RETURN = r"""
flow_run:
  description: The run as it is now, or as it would be in check mode; null where there is none.
  returned: success, or when the run didn't end as it should
  type: dict
  contains:
    id:
      description: Its id; null where it is yet to be started.
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
  returned: when the run is there
  type: list
  elements: dict
  sample: [{"name": "load-b7c", "state": "failed", "state_name": "Failed",
            "state_message": "Task run encountered an exception ValueError", "run_count": 1,
            "started": "2026-11-29T05:55:21.161834Z", "ended": "2026-11-29T05:55:21.168745Z"}]
failed_task_run_count:
  description: How many task runs failed or crashed.
  returned: when the run is there
  type: int
logs:
  description: The last log lines of the run and its tasks, in order.
  returned: when the run is there
  type: list
  elements: dict
  sample: [{"time": "2026-11-29T05:55:22.226923Z", "level": "info", "message": "Finished in state Completed()",
            "task_run_id": null}]
logs_truncated:
  description: Whether there are more log lines than were returned.
  returned: when the run is there
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
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._outcome import Outcome
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.arguments import outcome_result, run
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.client import PrefectClient
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.comparison import check_name, masked
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.flow_runs import (
    LEVELS,
    FlowRuns,
    Patience,
    Unfinished,
    as_new,
    body_of,
    check_id,
    problem,
)


def find(params: dict[str, Any], runs: FlowRuns) -> dict[str, Any] | None:
    """The run that is meant, if it is there."""
    if params["id"] is None:
        return runs.by_key(params["flow"], params["deployment"], params["idempotency_key"])
    found = runs.by_id(check_id("id", params["id"]))
    if found is None and params["state"] == "present":
        raise InputError(f"id: there is no flow run {params['id']}")
    return found


def begin(module: AnsibleModule, runs: FlowRuns) -> Outcome:
    """Up to where there is something to wait for."""
    params, body = module.params, body_of(module.params)
    for option in ("flow", "deployment"):
        if params[option] is not None:
            check_name(option, params[option])
    held = find(params, runs)
    if params["state"] == "cancelled":
        return runs.cancel(held) if held else Outcome(False, {}, {})
    if params["state"] == "absent":
        return runs.remove(held) if held else Outcome(False, {}, {})
    if held is None:
        return runs.start(params["flow"], params["deployment"], body)
    other = sorted(key for key, value in body.get("parameters", {}).items() if held["parameters"].get(key) != value)
    if other:
        module.warn(f"The run {held['name']} was started with other parameters ({', '.join(other)}) under this key.")
    return runs.same(held)


def work(module: AnsibleModule, client: PrefectClient) -> dict[str, Any]:
    """Start or cancel, wait, report, judge."""
    params = module.params
    runs = FlowRuns(client, check=module.check_mode)
    outcome, late = Outcome(False, {}, {}), ""
    try:
        outcome = begin(module, runs)
        seen = outcome.value
        if seen is not None and params["wait"] and not module.check_mode:
            seen = runs.wait(seen, Patience(params["wait_timeout"], params["poll_interval"]))
            runs.settle(seen)
    except Unfinished as error:
        seen, late = error.run, str(error)
    result = outcome_result(outcome, "flow_run") | {"flow_run": masked(seen)}
    if seen is None or seen["id"] is None:
        return result
    report = runs.report(seen, lines=params["log_lines"], level=LEVELS[params["log_level"]])
    result |= masked(report)
    if params["state"] == "present" and not late:
        late = problem(
            seen,
            report["failed_task_run_count"],
            run_counts=params["fail_when_unsuccessful"],
            tasks_count=params["fail_when_tasks_failed"],
        )
    if late:
        module.fail_json(msg=masked(late), reachable=True, **result)
    return result


def unknown(module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    if module.params["state"] != "present" or module.params["id"] is not None:
        return outcome_result(Outcome(False, {}, {}), "flow_run")
    params = module.params
    return outcome_result(as_new(params["flow"], params["deployment"], body_of(params), {}), "flow_run")


def main() -> None:
    run(
        {
            "flow": {"type": "str"},
            "deployment": {"type": "str"},
            "idempotency_key": {"type": "str", "no_log": False},
            "id": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "cancelled", "absent"], "default": "present"},
            "parameters": {"type": "dict"},
            "name": {"type": "str"},
            "tags": {"type": "list", "elements": "str"},
            "job_variables": {"type": "dict"},
            "work_queue": {"type": "str"},
            "start_at": {"type": "str"},
            "wait": {"type": "bool", "default": True},
            "wait_timeout": {"type": "float", "default": 3600},
            "poll_interval": {"type": "float", "default": 2},
            "fail_when_unsuccessful": {"type": "bool", "default": True},
            "fail_when_tasks_failed": {"type": "bool", "default": False},
            "log_lines": {"type": "int", "default": 100},
            "log_level": {"type": "str", "choices": list(LEVELS), "default": "info"},
        },
        work,
        unknown,
        required_one_of=[("id", "idempotency_key")],
        mutually_exclusive=[("id", "idempotency_key"), ("id", "flow"), ("id", "deployment")],
        required_by={"idempotency_key": ("flow", "deployment")},
    )


if __name__ == "__main__":
    main()
