#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: mlflow_model_version_info
short_description: Read model versions from MLflow
version_added: 0.1.0
description:
  - Reads the versions of a registered model of MLflow's model registry, with descriptions, tags and aliases.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.mlflow
  - mlops.onprem.api
  - mlops.onprem.attributes.info
options:
  name:
    description: Name of the registered model.
    type: str
    required: true
  version:
    description: Number of one version.
    type: int
  alias:
    description: An alias that names one version.
    type: str
  sha256:
    description: Tree digest of the content, as M(mlops.onprem.mlflow_model_version) records it.
    type: str
seealso:
  - module: mlops.onprem.mlflow_model_version
"""

EXAMPLES = r"""
- name: Read all versions
  mlops.onprem.mlflow_model_version_info:
    tracking_uri: http://mlflow.localhost
    username: registrar
    password: "{{ mlflow_registrar_password }}"
    name: phishing
  register: versions

- name: Read the version that serves
  mlops.onprem.mlflow_model_version_info:
    tracking_uri: http://mlflow.localhost
    username: registrar
    password: "{{ mlflow_registrar_password }}"
    name: phishing
    alias: champion
  register: champion
"""

RETURN = r"""
model_versions:
  description: The versions, newest first; an empty list when there is none such.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the registered model.
      type: str
      returned: always
      sample: phishing
    version:
      description: Number of the version.
      type: str
      returned: always
      sample: "3"
    uri:
      description: Address by which MLflow's clients load it.
      type: str
      returned: always
      sample: models:/phishing/3
    description:
      description: Its description.
      type: str
      returned: always
    tags:
      description: Its tags.
      type: dict
      returned: always
      sample: {"commit": "8c1f0e2"}
    aliases:
      description: The aliases that name it.
      type: list
      elements: str
      returned: always
      sample: [champion]
    sha256:
      description: Tree digest of its content; null where it isn't known.
      type: str
      returned: always
    source:
      description: Where its files lie, as the registry has it.
      type: str
      returned: always
      sample: models:/m-4c1a8e3d
    run_id:
      description: The run that it comes from, null without one.
      type: str
      returned: always
    model_id:
      description: The logged model that has its files, null without one.
      type: str
      returned: always
    status:
      description: Its status.
      type: str
      returned: always
      sample: READY
    created:
      description: When it was registered, in milliseconds since 1970.
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
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.comparison import DIGEST_TAG, quoted
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.service import model_aliases, version_facts


def work(module: AnsibleModule, client: MlflowClient) -> dict[str, Any]:
    """Read."""
    params = module.params
    aliases = model_aliases(client.find_registered_model(params["name"]))
    filters = [f"name = {quoted(params['name'], 'name')}"]
    if params["sha256"] is not None:
        filters.append(f"tags.`{DIGEST_TAG}` = {quoted(params['sha256'], 'sha256')}")
    number = aliases.get(params["alias"], "") if params["alias"] is not None else params["version"]
    if number is not None and number != "":
        filters.append(f"version_number = {int(number)}")
    found = [] if number == "" else client.search_model_versions(" and ".join(filters))
    versions = [version_facts(version, aliases) for version in found]
    return {"changed": False, "model_versions": sorted(versions, key=lambda one: -int(one["version"]))}


def unknown(_module: AnsibleModule) -> dict[str, Any]:
    """On an empty server."""
    return {"changed": False, "model_versions": []}


def main() -> None:
    run(
        {
            "name": {"type": "str", "required": True},
            "version": {"type": "int"},
            "alias": {"type": "str"},
            "sha256": {"type": "str"},
        },
        work,
        unknown,
        mutually_exclusive=[["version", "alias", "sha256"]],
    )


if __name__ == "__main__":
    main()
