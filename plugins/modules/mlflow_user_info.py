#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: mlflow_user_info
short_description: Read the users of an MLflow server
version_added: 0.1.0
description:
  - Reads the users of MLflow's basic authentication and the permissions given to each.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.mlflow
  - mlops.onprem.api
  - mlops.onprem.attributes.info
options:
  name:
    description: Name of one user. Without it all are returned.
    type: str
seealso:
  - module: mlops.onprem.mlflow_user
"""

EXAMPLES = r"""
- name: Read all users
  mlops.onprem.mlflow_user_info:
    tracking_uri: http://mlflow.localhost
    username: admin
    password: "{{ mlflow_admin_password }}"
  register: mlflow
"""

RETURN = r"""
users:
  description: The users, sorted by name; an empty list when there is none of that name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the user.
      type: str
      returned: always
      sample: serving
    admin:
      description: Whether it is an administrator.
      type: bool
      returned: always
    permissions:
      description: The permissions given to the user itself, not those by way of roles.
      type: list
      elements: dict
      returned: always
      sample:
        - {"resource": "registered_model", "name": "*", "permission": "READ"}
reachable:
  description: Whether an MLflow server answered; V(false) only with O(unreachable_in_check=ignore).
  returned: success
  type: bool
request:
  description: The request that failed, with method, address (without credentials), status, message, code and hint.
  returned: when a request failed
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.arguments import client_for, run
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.client import MlflowClient
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.users import Users


def work(module: AnsibleModule, client: MlflowClient) -> dict[str, Any]:
    """Read."""
    name = module.params["name"]
    service = Users(client, lambda user, secret: client_for(module.params, username=user, password=secret), check=True)
    users = [user for user in service.all() if name is None or user["name"] == name]
    return {"changed": False, "users": sorted(users, key=lambda user: str(user["name"]))}


def unknown(_module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    return {"changed": False, "users": []}


def main() -> None:
    run({"name": {"type": "str"}}, work, unknown)


if __name__ == "__main__":
    main()
