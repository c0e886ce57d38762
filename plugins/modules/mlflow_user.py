#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: mlflow_user
short_description: Manage the users of an MLflow server and what they may do
version_added: 0.1.0
description:
  - Creates, changes and removes users of MLflow's basic authentication, with their passwords and permissions, all of
    a server in one call.
  - Whether a password is right is seen by using it, so a second run changes nothing.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.mlflow
  - mlops.onprem.api
  - mlops.onprem.attributes
options:
  username:
    description:
      - An administrator.
      - Falls back to the environment variable E(MLFLOW_TRACKING_USERNAME).
  password:
    description:
      - The password that the administrator is to have.
      - Falls back to the environment variable E(MLFLOW_TRACKING_PASSWORD).
  previous_password:
    description:
      - The administrator's password before a rotation. Where the server refuses O(password) and takes this one, the
        administrator gets O(password).
    type: str
  users:
    description: The users. Those that are not named stay as they are.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the user.
        type: str
        required: true
      state:
        description: Whether there is to be such a user.
        type: str
        choices: [present, absent]
        default: present
      password:
        description: Password, of 12 characters or more. Needed for a user that doesn't exist yet.
        type: str
      update_password:
        description:
          - V(always) changes a password that differs. V(on_create) sets it for new users only.
        type: str
        choices: [always, on_create]
        default: always
      admin:
        description: Whether the user is an administrator. Left as it is when not given.
        type: bool
      permissions:
        description:
          - What the user may do. Left as it is when not given.
          - What no permission speaks of, the server's C(default_permission) decides.
        type: list
        elements: dict
        suboptions:
          resource:
            description: Kind of the resource. Those below experiments and registered models take only V(*) as name.
            type: str
            required: true
            choices:
              - registered_model
              - experiment
              - prompt
              - scorer
              - assessment
              - logged_model
              - prompt_version
              - registered_model_version
              - review_queue
              - run
              - scorer_version
              - trace
          name:
            description:
              - Name of the resource, V(*) for all. Experiments go by name and must exist.
              - A registered model need not exist yet.
            type: str
            required: true
          permission:
            description: What the user may do with it. V(DENY) wins over any other.
            type: str
            required: true
            choices: [READ, USE, EDIT, MANAGE, DENY]
      purge_permissions:
        description:
          - Whether permissions are revoked that are not named, as far as O(users[].permissions) is given.
          - V(MANAGE) on a single resource stays, because the server gives it to whoever creates one.
          - Permissions by way of roles are not touched.
        type: bool
        default: true
      purge_owned:
        description: Whether V(MANAGE) on single resources is revoked too, where it is not named.
        type: bool
        default: false
seealso:
  - module: mlops.onprem.mlflow_user_info
"""

EXAMPLES = r"""
- name: Give each service its own user, no wider than needed
  mlops.onprem.mlflow_user:
    tracking_uri: http://mlflow.localhost
    username: admin
    password: "{{ mlflow_admin_password }}"
    users:
      - name: serving
        password: "{{ mlflow_serving_password }}"
        permissions:
          - {resource: registered_model, name: "*", permission: READ}
          - {resource: experiment, name: "*", permission: READ}
      - name: registrar
        password: "{{ mlflow_registrar_password }}"
        permissions: []
      - name: former
        state: absent

- name: Rotate the administrator's own password
  mlops.onprem.mlflow_user:
    tracking_uri: http://mlflow.localhost
    username: admin
    password: "{{ mlflow_admin_password_next }}"
    previous_password: "{{ mlflow_admin_password }}"
    users: []
"""

RETURN = r"""
users:
  description: The declared users that are present, as they are now, or as they would be in check mode.
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
      description: The permissions given to the user itself.
      type: list
      elements: dict
      returned: always
      sample:
        - {"resource": "registered_model", "name": "*", "permission": "READ"}
changed_users:
  description: Names of the users that changed; the administrator's among them when its password was rotated.
  returned: success
  type: list
  elements: str
  sample: [serving]
reachable:
  description: Whether an MLflow server answered; V(false) only with O(unreachable_in_check=ignore).
  returned: success
  type: bool
request:
  description: The request that failed, with method, address (without credentials), status, message, code and hint.
  returned: when a request failed
  type: dict
"""

from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError, RequestError
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.arguments import client_for, run
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.client import MlflowClient
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.users import (
    HIDDEN,
    PERMISSIONS,
    RESOURCES,
    User,
    UserOutcome,
    Users,
    facts,
    parse_user,
)


def wanted(params: dict[str, Any]) -> list[User]:
    """The declared users."""
    users = [parse_user(f"users[{number}]", value) for number, value in enumerate(params["users"])]
    names = [user.name for user in users]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"users: {', '.join(twice)} is given more than once")
    if any(user.name == params["username"] and not user.present for user in users):
        raise InputError(f"users: {params['username']} can't remove itself; use another administrator")
    if any(user.name == params["username"] and user.password not in (None, params["password"]) for user in users):
        raise InputError(
            f"users: {params['username']} is the administrator of this task; its password is the option password"
        )
    return users


def rotated(module: AnsibleModule, client: MlflowClient) -> tuple[MlflowClient, bool]:
    """The administrator's client, and whether its password had to be changed; check mode goes on with the previous one.

    :raises RequestError: where the server takes neither.
    """
    params = module.params
    previous = params["previous_password"]
    if previous is None or previous == params["password"]:
        return client, False
    try:
        client.current_user()
        return client, False
    except RequestError as error:
        if error.status != 401:
            raise
    before = client_for(params, password=previous)
    before.current_user()
    if module.check_mode:
        return before, True
    before.update_password(params["username"], params["password"], previous)
    before.http.close()
    return client, True


def result(outcomes: list[UserOutcome], administrator: str | None) -> dict[str, Any]:
    """The module's result; a password shows as changed, never itself."""

    def shown(outcome: UserOutcome, facts: dict[str, Any], changed: str) -> dict[str, Any]:
        return facts | {"password": changed if outcome.password_changed else HIDDEN} if facts else facts

    changed = [outcome.name for outcome in outcomes if outcome.changed]
    before = {one.name: shown(one, one.before, f"{HIDDEN} (before)") for one in outcomes if one.changed}
    after = {one.name: shown(one, one.after, f"{HIDDEN} (changed)") for one in outcomes if one.changed}
    if administrator is not None:
        before.setdefault(administrator, {})["password"] = f"{HIDDEN} (before)"
        after.setdefault(administrator, {})["password"] = f"{HIDDEN} (changed)"
        changed = sorted({*changed, administrator})
    return {
        "changed": bool(changed),
        "changed_users": changed,
        "users": [one.after for one in outcomes if one.after],
        "diff": {"before": before, "after": after},
    }


def work(module: AnsibleModule, client: MlflowClient) -> dict[str, Any]:
    """Converge."""
    params = module.params
    # The administrator's own password is dealt with before.
    users = [replace(user, password=None) if user.name == params["username"] else user for user in wanted(params)]
    admin, was_rotated = rotated(module, client)
    service = Users(
        admin, lambda name, password: client_for(params, username=name, password=password), check=module.check_mode
    )
    return result(service.converge(users), params["username"] if was_rotated else None)


def unknown(module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    users = [user for user in wanted(module.params) if user.present]
    outcomes = [
        UserOutcome(user.name, {}, facts(user.name, bool(user.admin), user.permissions or {}), True) for user in users
    ]
    return result(outcomes, None)


def main() -> None:
    run(
        {
            "previous_password": {"type": "str", "no_log": True},
            "users": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                    "password": {"type": "str", "no_log": True},
                    "update_password": {
                        "type": "str",
                        "choices": ["always", "on_create"],
                        "default": "always",
                        "no_log": False,
                    },
                    "admin": {"type": "bool"},
                    "permissions": {
                        "type": "list",
                        "elements": "dict",
                        "options": {
                            "resource": {"type": "str", "required": True, "choices": list(RESOURCES)},
                            "name": {"type": "str", "required": True},
                            "permission": {"type": "str", "required": True, "choices": list(PERMISSIONS)},
                        },
                    },
                    "purge_permissions": {"type": "bool", "default": True},
                    "purge_owned": {"type": "bool", "default": False},
                },
            },
        },
        work,
        unknown,
    )


if __name__ == "__main__":
    main()
