#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: mlflow_model_version
short_description: Manage a model version in MLflow
version_added: 0.1.0
description:
  - Registers a model version from a local directory, from an artefact address or from a run, waits until it is
    ready, and keeps its description, tags and aliases as declared.
  - A version is known by its content. The same model again makes no new version, whatever its number.
  - A directory's files go through MLflow's artefact proxy into a logged model, made by a run that holds parameters,
    metrics and datasets. What the server stored is read back and compared before anything is registered.
  - Whatever fails before the version is complete is taken away again.
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.mlflow
  - mlops.onprem.api
  - mlops.onprem.attributes
options:
  name:
    description: Name of the registered model. It is created where it is missing.
    type: str
    required: true
  state:
    description:
      - V(present) registers the content where no version has it, and changes what differs.
      - V(absent) removes the version that O(version) names, or that has the content of O(path), O(sha256), O(source)
        or O(run_id).
    type: str
    choices: [present, absent]
    default: present
  path:
    description:
      - Directory with an MLflow model, that is with a file C(MLmodel), on the host that the module runs on.
      - C(__pycache__), C(.ipynb_checkpoints), C(registered_model_meta) and C(.DS_Store) are no part of the model and
        are left out.
    type: path
  source:
    description:
      - Artefact address of a model that is stored already, such as V(runs:/<run id>/model), V(models:/m-<id>),
        V(models:/<name>/<version>), V(mlflow-artifacts:/<path>) or V(s3://<bucket>/<path>).
      - What lies there is taken to never change.
    type: str
  run_id:
    description: A run that has the model; needs O(artifact_path). Beside O(source) it is the run that the address
      belongs to.
    type: str
  artifact_path:
    description: Where the run has the model, either the name of a logged model or a path among the run's artefacts.
    type: str
  version:
    description:
      - Number of an existing version, in place of its content, to change its description, tags and aliases or to
        remove it.
    type: int
  sha256:
    description:
      - The tree digest that the content must have. It is the SHA-256 over the sorted lines
        C(<sha256 of file>  <relative path>), each ended by a line feed.
      - For a O(source) that doesn't go through MLflow's artefact proxy it is recorded as given; without it, such a
        version has none.
    type: str
  description:
    description: Description of the version. Left as it is when not given.
    type: str
  tags:
    description:
      - Tags to set. Values that are not text are stored as JSON in its shortest form, 5000 characters at most.
      - C(mlops.sha256), C(mlops.aliases) and C(mlops.drift.sha256) are the module's own.
    type: dict
    default: {}
  purge_tags:
    description: Whether to remove the tags that O(tags) doesn't name, apart from the module's own and MLflow's
      (C(mlflow.*)).
    type: bool
    default: false
  aliases:
    description: Aliases that the version is to have.
    type: list
    elements: str
    default: []
  aliases_mode:
    description:
      - V(create_only) gives an alias once, where nobody holds it. An alias that another version has, or that
        somebody moved or removed afterwards, stays as it is, because the registry owns it. What was decided is
        recorded in the version's tag C(mlops.aliases).
      - V(enforce) moves the aliases to this version, whoever holds them.
    type: str
    choices: [create_only, enforce]
    default: create_only
  experiment:
    description:
      - Experiment of the run that holds the content of O(path). It is created where it is missing.
      - The default is the value of O(name).
    type: str
  run_name:
    description: Name of that run. The default is made of O(name) and the digest.
    type: str
  run_tags:
    description: Tags of that run.
    type: dict
    default: {}
  params:
    description: Parameters to log with the content of O(path).
    type: dict
    default: {}
  metrics:
    description: Metrics to log with the content of O(path); linked to the test dataset where there is one.
    type: dict
    default: {}
  datasets:
    description:
      - Datasets to log with the content of O(path), by SHA-256, as inputs of the run.
      - Those with a path are stored at C(datasets/<context>/) of the run, listed in C(datasets/manifest.json).
      - Those of a version that exists are left as they are.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the dataset.
        type: str
        required: true
      context:
        description: What it was used for, such as V(train) or V(test).
        type: str
        default: train
      path:
        description: File or directory to store with the run, on the host that the module runs on.
        type: path
      digest:
        description: SHA-256 of the dataset. Needed without a path; with one it is checked.
        type: str
      source:
        description: Where the dataset comes from, as an address. The default is the stored copy.
        type: str
      source_type:
        description: MLflow's type of the source. The default follows from the address.
        type: str
      schema:
        description: Columns, as a list of C(name) and C(type), or MLflow's own form of a schema.
        type: raw
      profile:
        description: Figures about the dataset, such as the number of rows.
        type: dict
  artifacts:
    description: Further files or directories to keep with the run that holds the content of O(path).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: File or directory on the host that the module runs on.
        type: path
        required: true
      artifact_path:
        description: Where it goes below the run, such as V(reports). C(model), C(datasets) and C(drift) are taken.
        type: str
        required: true
  drift:
    description:
      - Directory with fitted drift detectors, that is with the file C(manifest.json) that C(mlops-drift fit) wrote, on
        the host that the module runs on.
      - It is kept at C(drift/) of the run that the version comes from. The version's tag C(mlops.drift.sha256) has the
        SHA-256 of the manifest, which has those of all other files, and is set when all of it is stored.
      - Detectors are no part of the content that a version is known by. Other ones for the same content replace those
        of the version, whose number stays. The manifest is stored last; files that only the former had stay, unread.
      - Where it isn't given, the detectors of the version stay as they are. They go with the run, when
        O(delete_content) removes it.
    type: path
  verify:
    description:
      - How to check what the server stored. V(hash) reads every file back and compares its SHA-256, V(size) compares
        sizes.
    type: str
    choices: [hash, size]
    default: hash
  concurrency:
    description: How many files are sent at once.
    type: int
    default: 4
  wait_timeout:
    description: Seconds to wait for a new version to become ready.
    type: float
    default: 60
  delete_content:
    description:
      - With O(state=absent), whether to delete the run and the logged model that this module made for the version, too.
      - MLflow keeps the files of deleted runs until C(mlflow gc) collects them.
    type: bool
    default: false
seealso:
  - module: mlops.onprem.mlflow_model_version_info
  - module: mlops.onprem.mlflow_registered_model
"""

EXAMPLES = r"""
- name: Register a model with its datasets, as champion if there is none
  mlops.onprem.mlflow_model_version:
    tracking_uri: http://mlflow.localhost
    username: registrar
    password: "{{ mlflow_registrar_password }}"
    name: phishing
    path: /srv/models/phishing/model
    description: Logistic regression on 9 features of a page.
    params:
      C: 1.0
    metrics:
      accuracy: 0.93
    datasets:
      - name: phishing
        context: train
        path: /srv/models/phishing/train.csv
        schema:
          - {name: url_length, type: double}
          - {name: is_phishing, type: long}
        profile: {num_rows: 1000}
      - name: phishing
        context: test
        path: /srv/models/phishing/test.csv
    tags:
      commit: 8c1f0e2
    aliases: [champion]
  register: registered

- name: Keep fitted drift detectors with the version
  mlops.onprem.mlflow_model_version:
    tracking_uri: http://mlflow.localhost
    username: registrar
    password: "{{ mlflow_registrar_password }}"
    name: phishing
    path: /srv/models/phishing/model
    drift: /srv/models/phishing/drift

- name: Give it a tag more, by its number
  mlops.onprem.mlflow_model_version:
    tracking_uri: http://mlflow.localhost
    username: registrar
    password: "{{ mlflow_registrar_password }}"
    name: phishing
    version: "{{ registered.model_version.version }}"
    tags:
      reviewed: true

- name: Register under another name what a run has
  mlops.onprem.mlflow_model_version:
    tracking_uri: http://mlflow.localhost
    username: registrar
    password: "{{ mlflow_registrar_password }}"
    name: phishing-staging
    run_id: "{{ registered.model_version.run_id }}"
    artifact_path: model

- name: Register a copy of a version
  mlops.onprem.mlflow_model_version:
    tracking_uri: http://mlflow.localhost
    username: registrar
    password: "{{ mlflow_registrar_password }}"
    name: phishing-copy
    source: models:/phishing@champion

- name: Remove the version that has this content
  mlops.onprem.mlflow_model_version:
    tracking_uri: http://mlflow.localhost
    username: registrar
    password: "{{ mlflow_registrar_password }}"
    name: phishing
    path: /srv/models/phishing/model
    state: absent
"""

RETURN = r"""
model_version:
  description: The version as it is now, or as it would be in check mode; null when it is absent.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the registered model.
      type: str
      returned: always
      sample: phishing
    version:
      description: Number of the version; null where check mode can't know it.
      type: str
      returned: always
      sample: "3"
    uri:
      description: Address by which MLflow's clients load it; null where check mode can't know it.
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
      returned: when it existed
    updated:
      description: When it was last changed, in milliseconds since 1970.
      type: int
      returned: when it existed
registered:
  description: Whether this call made the version, or would make it in check mode.
  returned: success
  type: bool
datasets:
  description: The datasets that this call logged, or would log in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the dataset.
      type: str
      returned: always
    context:
      description: What it was used for.
      type: str
      returned: always
    sha256:
      description: Its SHA-256, or the digest that was given.
      type: str
      returned: always
    path:
      description: Where the run has it; null where it isn't stored.
      type: str
      returned: always
      sample: datasets/train/train.csv
    size:
      description: Its size in bytes, as far as it is stored.
      type: int
      returned: always
    schema:
      description: Its columns, as given.
      type: raw
      returned: always
    profile:
      description: Its figures, as given.
      type: dict
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
from ansible_collections.mlops.onprem.plugins.module_utils._mlflow.versions import Versions, Wanted


def work(module: AnsibleModule, client: MlflowClient) -> dict[str, Any]:
    """Converge."""
    wanted = Wanted.of(module.params)
    versions = Versions(client, wanted, check=module.check_mode)
    return (
        versions.absent(module.params["delete_content"]) if module.params["state"] == "absent" else versions.present()
    )


def unknown(module: AnsibleModule) -> dict[str, Any]:
    """On an empty server; what is read from disk is checked all the same."""
    if module.params["state"] == "absent":
        return {"changed": False, "model_version": None, "registered": False, "datasets": []}
    wanted = Wanted.of(module.params)
    return wanted.would_be(wanted.digest())


def main() -> None:
    run(
        {
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "path": {"type": "path"},
            "source": {"type": "str"},
            "run_id": {"type": "str"},
            "artifact_path": {"type": "str"},
            "version": {"type": "int"},
            "sha256": {"type": "str"},
            "description": {"type": "str"},
            "tags": {"type": "dict", "default": {}},
            "purge_tags": {"type": "bool", "default": False},
            "aliases": {"type": "list", "elements": "str", "default": []},
            "aliases_mode": {"type": "str", "choices": ["create_only", "enforce"], "default": "create_only"},
            "experiment": {"type": "str"},
            "run_name": {"type": "str"},
            "run_tags": {"type": "dict", "default": {}},
            "params": {"type": "dict", "default": {}},
            "metrics": {"type": "dict", "default": {}},
            "datasets": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "context": {"type": "str", "default": "train"},
                    "path": {"type": "path"},
                    "digest": {"type": "str"},
                    "source": {"type": "str"},
                    "source_type": {"type": "str"},
                    "schema": {"type": "raw"},
                    "profile": {"type": "dict"},
                },
            },
            "artifacts": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "artifact_path": {"type": "str", "required": True},
                },
            },
            "drift": {"type": "path"},
            "verify": {"type": "str", "choices": ["hash", "size"], "default": "hash"},
            "concurrency": {"type": "int", "default": 4},
            "wait_timeout": {"type": "float", "default": 60},
            "delete_content": {"type": "bool", "default": False},
        },
        work,
        unknown,
        mutually_exclusive=[["path", "source", "artifact_path", "version"], ["path", "run_id"], ["version", "run_id"]],
        required_one_of=[["path", "source", "artifact_path", "version", "sha256"]],
        required_by={"artifact_path": ["run_id"]},
    )


if __name__ == "__main__":
    main()
