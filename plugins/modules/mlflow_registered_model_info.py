#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: mlflow_registered_model_info
short_description: Read registered models from MLflow
version_added: 0.1.0
description:
  - Reads registered models of MLflow's model registry, with descriptions, tags and aliases.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.mlflow
  - mlops.onprem.api
  - mlops.onprem.attributes.info
options:
  name:
    description: Name of one registered model. Without it all are returned that the user may read.
    type: str
seealso:
  - module: mlops.onprem.mlflow_registered_model
"""

EXAMPLES = r"""
- name: Read all registered models
  mlops.onprem.mlflow_registered_model_info:
    tracking_uri: http://mlflow.localhost
    username: registrar
    password: "{{ mlflow_registrar_password }}"
  register: models

- name: Read one
  mlops.onprem.mlflow_registered_model_info:
    tracking_uri: http://mlflow.localhost
    username: registrar
    password: "{{ mlflow_registrar_password }}"
    name: phishing
  register: phishing
"""

RETURN = r"""
registered_models:
  description: The registered models, sorted by name; an empty list when there is none of that name.
  returned: success
  type: list
  elements: dict
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
      returned: always
      sample: 3
    created:
      description: When it was created, in milliseconds since 1970.
      type: int
      returned: always
    updated:
      description: When it was last changed, in milliseconds since 1970.
      type: int
      returned: always
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
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.arguments import run
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.client import MlflowClient
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.service import model_facts


def work(module: AnsibleModule, client: MlflowClient) -> dict[str, Any]:
    """Read."""
    name = module.params["name"]
    if name is None:
        found = client.search_registered_models()
    else:
        one = client.find_registered_model(name)
        found = [] if one is None else [one]
    models = sorted((model_facts(model) for model in found), key=lambda model: str(model["name"]))
    return {"changed": False, "registered_models": models}


def unknown(_module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    return {"changed": False, "registered_models": []}


def main() -> None:
    run({"name": {"type": "str"}}, work, unknown)


if __name__ == "__main__":
    main()
