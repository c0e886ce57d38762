#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: pipeline_code
short_description: Store a flow's code as a versioned archive in MLflow
version_added: 0.1.0
description:
  - Packs the directory of O(flow) and stores it, by its hash, among the artefacts of the experiment C(mlops-pipelines).
  - A run brings it from there before the flow is imported, by the pull step C(mlops_runtime.pipelines.code.pull), and
    runs nothing that isn't what was stored.
  - Nothing is ever taken away, so that a run of an older version can be repeated.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.mlflow
  - mlops.onprem.api
  - mlops.onprem.attributes
options:
  model:
    description: The registered model that the flow is for.
    type: str
    required: true
  flow:
    description: File and function on the host that the module runs on, such as V(models/fraud/flows.py:retrain).
    type: str
    required: true
  lock:
    description: The file, relative to the flow's directory, that the flow's environment was made from.
    type: str
    default: ""
  image:
    description: The reference of the image that the flow runs in.
    type: str
    default: ""
  exclude:
    description: Patterns of paths, relative to the flow's directory, that are no part of its code.
    type: list
    elements: str
    default: []
seealso:
  - module: mlops.onprem.prefect_deployment
"""

EXAMPLES = r"""
- name: Store the code that retrains a model
  mlops.onprem.pipeline_code:
    tracking_uri: http://mlflow.localhost
    username: registrar
    password: "{{ mlflow_registrar_password }}"
    model: phishing
    flow: examples/phishing/flows.py:retrain
    exclude: [build]
  register: code
"""

RETURN = r"""
version:
  description: The pipeline's version, a hash of code, lock and image.
  returned: success
  type: str
  sample: 5b0c9c1d2f
entrypoint:
  description: The flow as a deployment of that version names it.
  returned: success
  type: str
  sample: flows.py:retrain
parameters:
  description: What the flow takes by name, and whether it has to be given.
  returned: success
  type: dict
  sample: {"model": true, "version": false, "episode": false}
files:
  description: The files, by their relative path, with their SHA-256.
  returned: success
  type: dict
"""

import io
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.arguments import run
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.client import MlflowClient, artifact_path
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec.flow_code import (
    EXPERIMENT,
    Archive,
    BadArchive,
    flow_parameters,
    pack,
    place_of,
)


def packed(params: dict[str, Any]) -> tuple[Archive, dict[str, Any]]:
    """The archive, and what is told of it. Raises InputError."""
    file, function = params["flow"].rsplit(":", 1) if ":" in params["flow"] else ("", "")
    if not file or not function:
        raise InputError("flow: must be a file and a function of it, such as flows.py:retrain")
    path = Path(file)
    try:
        parameters = flow_parameters(path, function)
        archive = pack(path.parent, lock=params["lock"], image=params["image"], exclude=params["exclude"])
    except BadArchive as error:
        raise InputError(f"flow: {error}") from error
    told = {
        "version": archive.version,
        "entrypoint": f"{path.name}:{function}",
        "parameters": parameters,
        "files": dict(archive.files),
    }
    return archive, told


def work(module: AnsibleModule, client: MlflowClient) -> dict[str, Any]:
    """Store it, unless it is there."""
    archive, told = packed(module.params)
    experiment = client.find_experiment(EXPERIMENT)
    root = _root(experiment)
    place = place_of(module.params["model"])
    manifest = f"{archive.version}.json"
    if root and manifest in client.list_artifacts(f"{root}/{place}"):
        return {"changed": False, **told}
    if not module.check_mode:
        if experiment is None:
            client.create_experiment(EXPERIMENT)
            root = _root(client.find_experiment(EXPERIMENT))
        # The manifest last: what has one is whole.
        for name, body in ((f"{archive.version}.tar.gz", archive.body), (manifest, archive.manifest())):
            client.upload(f"{root}/{place}/{name}", lambda body=body: io.BytesIO(body), len(body))
    return {"changed": True, **told, "diff": _diff(module.params["model"], archive)}


def unknown(module: AnsibleModule) -> dict[str, Any]:
    """On a server that isn't there yet, in check mode."""
    archive, told = packed(module.params)
    return {"changed": True, **told, "diff": _diff(module.params["model"], archive)}


def _root(experiment: dict[str, Any] | None) -> str:
    """The experiment's place at the artifact proxy; empty where there is none. Raises InputError."""
    if experiment is None:
        return ""
    root = artifact_path(str(experiment.get("artifact_location", "")))
    if root is None or experiment.get("lifecycle_stage") == "deleted":
        raise InputError(
            f"tracking_uri: the experiment {EXPERIMENT} was deleted, or doesn't keep its artefacts at the server"
        )
    return root


def _diff(model: str, archive: Archive) -> dict[str, str]:
    lines = [f"{sha256}  {path}" for path, sha256 in sorted(archive.files.items())]
    header = f"code of {model}"
    return {
        "before_header": header,
        "after_header": header,
        "before": "",
        "after": "\n".join([archive.version, *lines, ""]),
    }


def main() -> None:
    arguments: dict[str, Any] = {
        "model": {"type": "str", "required": True},
        "flow": {"type": "str", "required": True},
        "lock": {"type": "str", "default": ""},
        "image": {"type": "str", "default": ""},
        "exclude": {"type": "list", "elements": "str", "default": []},
    }
    run(arguments, work, unknown)


if __name__ == "__main__":
    main()
