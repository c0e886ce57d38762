#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_dashboard
short_description: Manage a dashboard of Grafana
version_added: 0.1.0
description:
  - Creates, changes, moves or removes a dashboard, or removes the dashboards of a folder that are no longer declared.
  - The content is compared as data, without what the server counts by itself (C(id) and C(version)).
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.grafana
  - mlops.onprem.grafana.folder
  - mlops.onprem.api
  - mlops.onprem.attributes
options:
  dashboard:
    description:
      - The dashboard's content, as exported from Grafana's pages. Needed with O(state=present).
      - Data sources must be there by the uids that it names.
    type: dict
  uid:
    description: Uid of the dashboard, by which it is found. Without it, what O(dashboard) says of itself.
    type: str
  state:
    description:
      - V(present) makes the dashboard as declared, in that folder, or at the top without one.
      - V(absent) removes it.
      - V(pruned) removes all dashboards of the folder but those in O(keep).
    type: str
    choices: [present, absent, pruned]
    default: present
  keep:
    description: Uids of the dashboards to keep. Needed with O(state=pruned).
    type: list
    elements: str
  editable:
    description:
      - Whether it can be changed in the pages. Without it, what O(dashboard) says.
      - Whoever may edit the folder can still save it through the API; the next run sets it back.
    type: bool
  version_message:
    description: What the history of the dashboard says of the change.
    type: str
seealso:
  - module: mlops.onprem.grafana_dashboard_info
  - module: mlops.onprem.grafana_data_source
"""

EXAMPLES = r"""
- name: Show the drift of all models
  mlops.onprem.grafana_dashboard:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
    folder: MLOps
    editable: false
    dashboard:
      uid: mlops-drift
      title: Drift
      schemaVersion: 38
      time: {from: now-6h, to: now}
      panels:
        - id: 1
          type: timeseries
          title: Score over threshold
          gridPos: {x: 0, y: 0, w: 24, h: 12}
          datasource: {type: prometheus, uid: prometheus}
          targets:
            - refId: A
              expr: max by (model) (mlops_drift_score_ratio)

- name: Keep no other dashboards in the folder
  mlops.onprem.grafana_dashboard:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
    folder: MLOps
    state: pruned
    keep: [mlops-drift]

- name: Remove it
  mlops.onprem.grafana_dashboard:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
    uid: mlops-drift
    state: absent
"""

RETURN = r"""
dashboard:
  description:
    - The dashboard as it is now, or as it would be in check mode; null when it is absent, or with O(state=pruned).
  returned: success
  type: dict
  contains:
    uid:
      description: Its uid.
      type: str
      returned: always
    title:
      description: Its title.
      type: str
      returned: always
    folder_uid:
      description: Uid of its folder; empty at the top.
      type: str
      returned: always
    folder:
      description: Title of its folder.
      type: str
      returned: always
    version:
      description: How often it was saved; null where it is yet to be made.
      type: int
      returned: always
    url:
      description: Its path below Grafana's address; empty where it is yet to be made.
      type: str
      returned: always
    provisioned:
      description: Whether a file of the server provisions it.
      type: bool
      returned: always
    dashboard:
      description: Its content, without C(id) and C(version).
      type: dict
      returned: always
removed:
  description: The uids of the dashboards that were removed, or would be in check mode.
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
    PRUNED,
    outcome_result,
    pruned_result,
    run,
)
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.client import GrafanaClient
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.dashboards import Dashboards, as_new, parse
from ansible_collections.mlops.onprem.plugins.module_utils._outcome import Outcome

KEY = "dashboard"


def work(module: AnsibleModule, client: GrafanaClient) -> dict[str, Any]:
    """Converge."""
    params = module.params
    dashboards = Dashboards(client, check=module.check_mode)
    if params["state"] == "pruned":
        return pruned_result(dashboards.prune(params["keep"], dashboards.folder(params)), KEY)
    wanted = parse(params)
    if params["state"] == "absent":
        return outcome_result(dashboards.absent(wanted.uid), KEY)
    return outcome_result(dashboards.present(wanted, dashboards.folder(params)), KEY)


def unknown(module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    if module.params["state"] == "pruned":
        return pruned_result(Outcome(False, {}, {}), KEY)
    wanted = parse(module.params)
    nothing = module.params["state"] == "absent"
    return outcome_result(Outcome(False, {}, {}) if nothing else as_new(wanted, module.params), KEY)


def main() -> None:
    run(
        {
            **FOLDER,
            "dashboard": {"type": "dict"},
            "uid": {"type": "str"},
            "state": PRUNED,
            "keep": KEEP,
            "editable": {"type": "bool"},
            "version_message": {"type": "str"},
        },
        work,
        unknown,
        required_if=[
            ("state", "present", ("dashboard",)),
            ("state", "absent", ("dashboard", "uid"), True),
            ("state", "pruned", ("keep",)),
            ("state", "pruned", ("folder", "folder_uid"), True),
        ],
    )


if __name__ == "__main__":
    main()
