#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_data_source_info
short_description: Read data sources of Grafana
version_added: 0.1.0
description:
  - Reads data sources, without the values of secrets.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.grafana
  - mlops.onprem.api
  - mlops.onprem.attributes.info
options:
  name:
    description: Name of one data source. Without it and O(uid), all are returned.
    type: str
  uid:
    description: Uid of one data source.
    type: str
seealso:
  - module: mlops.onprem.grafana_data_source
"""

EXAMPLES = r"""
- name: Read all data sources
  mlops.onprem.grafana_data_source_info:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
  register: sources
"""

RETURN = r"""
data_sources:
  description: The data sources, sorted by name; an empty list when there is none of that name.
  returned: success
  type: list
  elements: dict
  contains:
    uid:
      description: Its uid; null where it is yet to be given.
      type: str
      returned: always
    name:
      description: Its name.
      type: str
      returned: always
    type:
      description: Its type.
      type: str
      returned: always
    access:
      description: Who asks it, V(proxy) for the server.
      type: str
      returned: always
    url:
      description: Its address.
      type: str
      returned: always
    user:
      description: The user at the data source.
      type: str
      returned: always
    database:
      description: Its database.
      type: str
      returned: always
    basic_auth:
      description: Whether it is asked with basic authentication.
      type: bool
      returned: always
    basic_auth_user:
      description: The user of that.
      type: str
      returned: always
    with_credentials:
      description: Whether cookies and headers go along.
      type: bool
      returned: always
    is_default:
      description: Whether it is the default of the organisation.
      type: bool
      returned: always
    json_data:
      description: Its further settings.
      type: dict
      returned: always
    secure_json_data:
      description: The names of its secrets, each value hidden.
      type: dict
      returned: always
    read_only:
      description: Whether a file of the server provisions it.
      type: bool
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
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.arguments import run
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.client import GrafanaClient
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.data_sources import DataSources


def work(module: AnsibleModule, client: GrafanaClient) -> dict[str, Any]:
    """Read."""
    sources, name, uid = DataSources(client, check=True), module.params["name"], module.params["uid"]
    if name is None and uid is None:
        return {"changed": False, "data_sources": sources.all()}
    one = sources.find(name, uid)
    return {"changed": False, "data_sources": [] if one is None else [one.facts]}


def unknown(_module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    return {"changed": False, "data_sources": []}


def main() -> None:
    options = {"name": {"type": "str"}, "uid": {"type": "str"}}
    run(options, work, unknown, mutually_exclusive=[("name", "uid")])


if __name__ == "__main__":
    main()
