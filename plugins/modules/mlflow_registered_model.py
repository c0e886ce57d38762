#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: mlflow_registered_model
short_description: Manage a registered model in MLflow
version_added: 0.1.0
description:
  - Creates, changes or removes a registered model of MLflow's model registry, with its description, tags and aliases.
  - Versions are managed by M(mlops.onprem.mlflow_model_version).
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.mlflow
  - mlops.onprem.api
  - mlops.onprem.attributes
options:
  name:
    description: Name of the registered model.
    type: str
    required: true
  state:
    description:
      - V(present) creates the registered model where it is missing and changes what differs.
      - V(absent) removes it with all its versions.
    type: str
    choices: [present, absent]
    default: present
  description:
    description: Description of the model. Left as it is when not given.
    type: str
  tags:
    description:
      - Tags to set. Values that are not text are stored as JSON in its shortest form.
      - A value holds 5000 characters at most, which is what MLflow stores on PostgreSQL.
    type: dict
    default: {}
  purge_tags:
    description:
      - Whether to remove the tags that O(tags) doesn't name.
      - MLflow's own (C(mlflow.*)) are kept; so is C(mlops.spec) unless O(spec) is given.
    type: bool
    default: false
  spec:
    description:
      - The model's declaration, stored as compact JSON in the tag C(mlops.spec), 5000 characters at most.
      - It is compared as data, so the order of keys doesn't matter.
      - An empty one takes the declaration away; the tag is empty then.
    type: dict
  aliases:
    description:
      - Aliases and the numbers of the versions that they are to name. The versions must exist.
    type: dict
    default: {}
  aliases_mode:
    description:
      - V(create_only) gives an alias once, where nobody holds it. An alias that somebody moved or removed afterwards
        stays as it is, because the registry owns it; what was given is recorded in the version's tag C(mlops.aliases).
      - V(enforce) moves an alias to the version that is declared here, whoever moved it.
    type: str
    choices: [create_only, enforce]
    default: create_only
  purge_aliases:
    description: Whether to remove the aliases that O(aliases) doesn't name. Needs O(aliases_mode=enforce).
    type: bool
    default: false
seealso:
  - module: mlops.onprem.mlflow_registered_model_info
  - module: mlops.onprem.mlflow_model_version
"""

EXAMPLES = r"""
- name: Register the model with its declaration
  mlops.onprem.mlflow_registered_model:
    tracking_uri: http://mlflow.localhost
    username: registrar
    password: "{{ mlflow_registrar_password }}"
    name: phishing
    description: Tells phishing pages from others.
    tags:
      team: security
    spec:
      name: phishing
      replicas: 2

- name: Make version 1 the champion, whoever held it
  mlops.onprem.mlflow_registered_model:
    tracking_uri: http://mlflow.localhost
    username: registrar
    password: "{{ mlflow_registrar_password }}"
    name: phishing
    aliases:
      champion: 1
    aliases_mode: enforce

- name: Remove the model with all its versions
  mlops.onprem.mlflow_registered_model:
    tracking_uri: http://mlflow.localhost
    username: registrar
    password: "{{ mlflow_registrar_password }}"
    name: phishing
    state: absent
"""

RETURN = r"""
registered_model:
  description: The registered model as it is now, or as it would be in check mode; null when it is absent.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the registered model.
      type: str
      returned: always
      sample: phishing
    description:
      description: Its description.
      type: str
      returned: always
    tags:
      description: Its tags.
      type: dict
      returned: always
      sample: {"team": "security"}
    aliases:
      description: Its aliases, with the numbers of the versions that they name.
      type: dict
      returned: always
      sample: {"champion": "3"}
    latest_version:
      description: Number of the newest version, null without any.
      type: int
      returned: when it existed
      sample: 3
    created:
      description: When it was created, in milliseconds since 1970.
      type: int
      returned: when it existed
    updated:
      description: When it was last changed, in milliseconds since 1970.
      type: int
      returned: when it existed
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
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.arguments import run
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.client import MlflowClient
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.comparison import SPEC_TAG, as_spec, as_tags
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.service import Metadata, RegisteredModels


def wanted(params: dict[str, Any]) -> Metadata:
    """What the options ask for."""
    tags = as_tags(params["tags"])
    if params["spec"] is not None:
        tags[SPEC_TAG] = as_spec(params["spec"]) if params["spec"] else ""
    if params["purge_aliases"] and params["aliases_mode"] != "enforce":
        raise InputError("purge_aliases: needs aliases_mode=enforce")
    return Metadata(params["description"], tags, params["purge_tags"], params["aliases_mode"] == "enforce")


def work(module: AnsibleModule, client: MlflowClient) -> dict[str, Any]:
    """Converge."""
    params = module.params
    models = RegisteredModels(client, check=module.check_mode)
    metadata = wanted(params)
    if params["state"] == "absent":
        outcome = models.absent(params["name"])
    else:
        aliases = {str(alias): str(version) for alias, version in params["aliases"].items()}
        outcome = models.present(params["name"], metadata, aliases, purge_aliases=params["purge_aliases"])
    return {
        "changed": outcome.changed,
        "registered_model": outcome.value,
        "diff": {"before": outcome.before, "after": outcome.after},
    }


def unknown(module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    if module.params["state"] == "absent":
        return {"changed": False, "registered_model": None, "diff": {"before": {}, "after": {}}}
    metadata = wanted(module.params)
    after = {
        "name": module.params["name"],
        "description": metadata.description or "",
        "tags": metadata.tags,
        "aliases": {},
    }
    return {"changed": True, "registered_model": after, "diff": {"before": {}, "after": after}}


def main() -> None:
    run(
        {
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "description": {"type": "str"},
            "tags": {"type": "dict", "default": {}},
            "purge_tags": {"type": "bool", "default": False},
            "spec": {"type": "dict"},
            "aliases": {"type": "dict", "default": {}},
            "aliases_mode": {"type": "str", "choices": ["create_only", "enforce"], "default": "create_only"},
            "purge_aliases": {"type": "bool", "default": False},
        },
        work,
        unknown,
    )


if __name__ == "__main__":
    main()
