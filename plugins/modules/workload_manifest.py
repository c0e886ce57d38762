#!/usr/bin/python

# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

# The files are written by the action plugin of this name; this part reads, on the manager, what only the cluster knows.

from __future__ import annotations

DOCUMENTATION = r"""
module: workload_manifest
short_description: Write what a set of workloads would be on the cluster, for review or GitOps
version_added: 0.2.0
description:
  - Writes manifests to a directory of the control host. They come from the same rendering that
    M(mlops.onprem.workload) applies; nothing in the cluster is changed.
  - A secret's value is in no file. What mounts it names the object that holds it, and C(SECRETS.yaml) lists these
    objects with the secrets whose values they want. The values are needed all the same, since an object's name holds
    a slow, salted hash of them.
  - Files that were written before and are no longer wanted are removed; others are never touched. A file of somebody
    else's that is in the way is an error.
  - What only the cluster knows is read from it, or made up where O(live) says so; what was made up is in RV(notes).
author:
  - The mlops.onprem authors (@mlops-onprem)
extends_documentation_fragment:
  - mlops.onprem.workload
  - mlops.onprem.workload.declared
  - mlops.onprem.workload.attributes
attributes:
  check_mode:
    description: Can run in check mode and tell what it would change, without changing anything.
    support: full
  diff_mode:
    description: Returns what changed, or would change, in diff mode.
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
  action:
    description: Has a corresponding action plugin, which works on the control host.
    support: full
options:
  dest:
    description:
      - Directory on the control host. The files of a target are below C(<dest>/<target>), those of a set below
        C(<dest>/<target>/<set>), and those of all sets beside them.
      - What other sets have there stays, and is counted with.
    type: path
    required: true
  set:
    description: The set that the workloads belong to, as in M(mlops.onprem.workload).
    type: str
    required: true
  workloads:
    description: The workloads, as in M(mlops.onprem.workload). An empty list removes the set's files.
    type: list
    elements: dict
    required: true
  vault_key_file:
    description:
      - Also writes C(SECRETS.vault.yaml) in the set's directory, the objects with their values as the cluster takes
        them, encrypted by Ansible Vault with the key in this file.
    type: path
  live:
    description:
      - Whether to ask the cluster. V(auto) asks, and goes on without where it can't be reached.
    type: str
    choices: [auto, always, never]
    default: auto
  cluster:
    description: What is known of the cluster, where it isn't asked.
    type: dict
    default: {}
    suboptions:
      salt:
        description:
          - What hashes of secrets are salted with. On a Swarm the module takes the cluster's id, on Kubernetes the uid
            of the namespace.
          - Without it, the namespace and the domain are taken. The names of secrets are other ones then, but the same
            in all files.
        type: str
      api_endpoints:
        description: Addresses of the Kubernetes API server, as C(address:port), for the workloads that may reach it.
        type: list
        elements: str
      api:
        description: Version of the engine's API, such as V(1.41).
        type: str
      nodes:
        description: How many nodes the Swarm has.
        type: int
      log_driver:
        description: The engines' log driver.
        type: str
      socket_group:
        description: Number of the group that the engine's socket belongs to.
        type: int
      no_new_privileges:
        description: Whether the engines set no-new-privileges for all containers.
        type: bool
seealso:
  - module: mlops.onprem.workload
"""

EXAMPLES = r"""
- name: Write what the set would be
  mlops.onprem.workload_manifest:
    dest: "{{ playbook_dir }}/manifests"
    namespace: mlops
    set: example
    live: never
    images:
      web: registry.example.org/web@sha256:0000000000000000000000000000000000000000000000000000000000000000
    workloads:
      - name: web
        image: web
        ports:
          - {name: http, port: 8080}
"""

RETURN = r"""
files:
  description: Paths of all files of the target, below RV(path).
  returned: success
  type: list
  elements: str
path:
  description: The target's directory.
  returned: success
  type: str
  sample: /srv/gitops/kubernetes
written:
  description: Paths of the files that changed, or would change.
  returned: success
  type: list
  elements: str
removed:
  description: Paths of the files that were removed, or would be.
  returned: success
  type: list
  elements: str
live:
  description: Whether the cluster was asked.
  returned: success
  type: bool
notes:
  description: What the reader should know about, first of all what is made up.
  returned: success
  type: list
  elements: str
problems:
  description: What is wrong, one entry each.
  returned: on failure
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._workload import WorkloadError
from ansible_collections.mlops.onprem.plugins.module_utils._workload.backends import backend
from ansible_collections.mlops.onprem.plugins.module_utils._workload.options import CLUSTER, DECLARED

# The action plugin reads its arguments by it, too.
ARGUMENTS: dict[str, Any] = {
    **CLUSTER,
    **DECLARED,
    "dest": {"type": "path", "required": True},
    "set": {"type": "str", "required": True},
    "workloads": {"type": "list", "elements": "dict", "required": True},
    "vault_key_file": {"type": "path"},
    "live": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
    "cluster": {
        "type": "dict",
        "default": {},
        "options": {
            "salt": {"type": "str"},
            "api_endpoints": {"type": "list", "elements": "str"},
            "api": {"type": "str"},
            "nodes": {"type": "int"},
            "log_driver": {"type": "str"},
            "socket_group": {"type": "int"},
            "no_new_privileges": {"type": "bool"},
        },
    },
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    parameters = module.params
    try:
        cluster = backend(
            parameters["target"],
            parameters["namespace"],
            domain=parameters["domain"],
            docker_host=parameters["docker_host"],
            kubernetes=parameters["kubernetes"],
        )
        facts = cluster.facts(parameters["images"])
    except WorkloadError as error:
        module.fail_json(msg=str(error), problems=error.problems)
    module.exit_json(changed=False, facts=facts)


if __name__ == "__main__":
    main()
