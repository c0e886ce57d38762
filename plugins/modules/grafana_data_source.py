#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: grafana_data_source
short_description: Manage a data source of Grafana
version_added: 0.1.0
description:
  - Creates, changes or removes a data source.
  - Only what is given is compared; the rest is left as it is.
  - Changed secrets are noticed by their hashes, see O(hash_key).
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.grafana
  - mlops.onprem.grafana.hash
  - mlops.onprem.api
  - mlops.onprem.attributes
options:
  name:
    description: Name of the data source, by which it is found where O(uid) isn't given.
    type: str
    required: true
  uid:
    description: Uid of the data source, by which dashboards and rules name it; found by it, its name may change.
    type: str
  state:
    description: Whether it is to be there.
    type: str
    choices: [present, absent]
    default: present
  type:
    description: Type of the data source, such as V(prometheus) or V(postgres). Needed to create it.
    type: str
  access:
    description: Who asks it, the server or the browser; V(proxy) for a new one.
    type: str
    choices: [proxy, direct]
  url:
    description: Address of the data source, without credentials.
    type: str
  user:
    description: User at the data source, for those that have it here, such as V(postgres).
    type: str
  database:
    description: Name of the database, for those that have it here.
    type: str
  basic_auth:
    description: Whether to ask with basic authentication; its password is C(basicAuthPassword) in O(secure_json_data).
    type: bool
  basic_auth_user:
    description: User for basic authentication.
    type: str
  with_credentials:
    description: Whether cookies and headers of authentication go along to the data source.
    type: bool
  is_default:
    description: Whether it is the organisation's default, which takes that from another.
    type: bool
  json_data:
    description: Further settings by Grafana's own names, compared as a whole.
    type: dict
  secure_json_data:
    description:
      - Secrets by Grafana's own names, such as C(password), C(basicAuthPassword) or C(tlsCACert).
      - Without it, secrets that are there stay. With it, secrets that it doesn't name are emptied.
    type: dict
notes:
  - Grafana has no lock for data sources but provisioning from a file; one that is so provisioned is never touched.
seealso:
  - module: mlops.onprem.grafana_data_source_info
  - module: mlops.onprem.grafana_dashboard
  - module: mlops.onprem.grafana_alert_rule_group
"""

EXAMPLES = r"""
- name: Prometheus
  mlops.onprem.grafana_data_source:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
    name: Prometheus
    uid: prometheus
    type: prometheus
    url: http://prometheus:9090
    basic_auth: true
    basic_auth_user: grafana
    is_default: true
    json_data:
      httpMethod: POST
      timeInterval: 10s
    secure_json_data:
      basicAuthPassword: "{{ prometheus_password }}"
    hash_key: "{{ grafana_hash_key }}"

- name: Remove it
  mlops.onprem.grafana_data_source:
    grafana_url: http://grafana.localhost
    username: admin
    password: "{{ grafana_admin_password }}"
    name: Prometheus
    uid: prometheus
    state: absent
"""

RETURN = r"""
data_source:
  description: The data source as it is now, or as it would be in check mode; null when it is absent.
  returned: success
  type: dict
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
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.arguments import (
    HASH_KEY,
    STATE,
    outcome_result,
    run,
)
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.client import GrafanaClient
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.data_sources import DataSources, as_new, parse
from ansible_collections.mlops.onprem.plugins.module_utils._outcome import Outcome

KEY = "data_source"


def work(module: AnsibleModule, client: GrafanaClient) -> dict[str, Any]:
    """Converge."""
    wanted = parse(module.params)
    sources = DataSources(client, check=module.check_mode)
    absent = module.params["state"] == "absent"
    return outcome_result(sources.absent(wanted) if absent else sources.present(wanted), KEY)


def unknown(module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    wanted = parse(module.params)
    return outcome_result(Outcome(False, {}, {}) if module.params["state"] == "absent" else as_new(wanted), KEY)


def main() -> None:
    run(
        {
            "name": {"type": "str", "required": True},
            "uid": {"type": "str"},
            "state": STATE,
            "type": {"type": "str"},
            "access": {"type": "str", "choices": ["proxy", "direct"]},
            "url": {"type": "str"},
            "user": {"type": "str"},
            "database": {"type": "str"},
            "basic_auth": {"type": "bool"},
            "basic_auth_user": {"type": "str"},
            "with_credentials": {"type": "bool"},
            "is_default": {"type": "bool"},
            "json_data": {"type": "dict"},
            "secure_json_data": {"type": "dict", "no_log": True},
            "hash_key": HASH_KEY,
        },
        work,
        unknown,
    )


if __name__ == "__main__":
    main()
