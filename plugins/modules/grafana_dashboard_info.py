#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_dashboard_info
short_description: Read dashboards of Grafana
version_added: 0.1.0
description:
  - Reads dashboards with their content.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.grafana
  - mlops.onprem.api
  - mlops.onprem.attributes.info
options:
  uid:
    description: Uid of one dashboard. Without it all are returned, of one folder where that is given.
    type: str
  folder:
    description: Title of the folder to look in, one at the top.
    type: str
  folder_uid:
    description: Uid of the folder to look in.
    type: str
seealso:
  - module: mlops.onprem.grafana_dashboard
"""

EXAMPLES = r"""
- name: Read the dashboards of a folder
  mlops.onprem.grafana_dashboard_info:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
    folder: MLOps
  register: dashboards
"""

RETURN = r"""
dashboards:
  description: The dashboards, sorted by uid; an empty list when there is none.
  returned: success
  type: list
  elements: dict
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
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.arguments import FOLDER, run
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.client import GrafanaClient
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.dashboards import Dashboards


def work(module: AnsibleModule, client: GrafanaClient) -> dict[str, Any]:
    """Read."""
    dashboards, params = Dashboards(client, check=True), module.params
    if params["uid"]:
        one = dashboards.find(params["uid"])
        return {"changed": False, "dashboards": [] if one is None else [one]}
    folder = dashboards.folder(params) if params["folder"] or params["folder_uid"] else None
    return {"changed": False, "dashboards": dashboards.all(folder)}


def unknown(_module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    return {"changed": False, "dashboards": []}


def main() -> None:
    exclusive = [("uid", "folder"), ("uid", "folder_uid")]
    run({**FOLDER, "uid": {"type": "str"}}, work, unknown, mutually_exclusive=exclusive)


if __name__ == "__main__":
    main()
