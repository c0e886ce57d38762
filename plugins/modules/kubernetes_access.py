#!/usr/bin/python
# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: kubernetes_access
short_description: Whether a Kubernetes cluster can carry the platform
version_added: 0.1.0
description:
  - Looks at a cluster before anything is applied to it, and returns all that is wrong at once. That is how it is
    reached, its version, each right that is missing, storage class, nodes, and whether namespaces and ports are free.
  - Only asks; nothing is kept on the cluster.
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, in diff mode.
    support: none
options:
  namespace:
    description: The platform's name, and its namespace.
    type: str
    required: true
  kubernetes:
    description: How the cluster is reached and used, as in M(mlops.onprem.workload).
    type: dict
    default: {}
    suboptions:
      kubeconfig:
        description: File that says how the cluster is reached; otherwise E(KUBECONFIG), then C(~/.kube/config).
        type: path
      context:
        description: The context to take from it, in the place of its current one.
        type: str
      storage_class:
        description: Storage class of volumes; the cluster's default one where it isn't given.
        type: str
      entry:
        description: How clients from outside reach published ports.
        type: str
        choices: [host_port, node_port, load_balancer]
        default: host_port
      cluster_domain:
        description: Domain of the cluster's Services.
        type: str
        default: cluster.local
      manage_namespaces:
        description: Whether the namespaces are made and labelled; otherwise they must exist.
        type: bool
        default: true
      force_conflicts:
        description: Of no meaning here.
        type: bool
        default: false
  ports:
    description: The ports that clients come in at.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: The port.
        type: int
        required: true
      variable:
        description: The variable that sets it, for messages.
        type: str
        required: true
  volumes:
    description: Whether any workload keeps data, so that a storage class is needed.
    type: bool
    default: true
  hosts:
    description: The hosts of the inventory that are nodes of the cluster, and the addresses that they are reached at.
    type: dict
    default: {}
requirements:
  - Python 3.11 or newer on the host that runs the module, with the package C(kubernetes)
author:
  - The mlops.onprem authors (@mlops-onprem)
"""

EXAMPLES = r"""
- name: Look at the cluster
  mlops.onprem.kubernetes_access:
    namespace: mlops
    kubernetes:
      context: production
    ports:
      - port: 443
        variable: gateway_https_port
"""

RETURN = r"""
problems:
  description: What must be put right first, each with what to set or do.
  type: list
  elements: str
  returned: success
warnings_found:
  description: What works, but is worth knowing.
  type: list
  elements: str
  returned: success
able:
  description: Whether the cluster could be asked.
  type: bool
  returned: success
cluster:
  description: What was found.
  type: dict
  returned: success
  contains:
    server:
      description: Address of its API.
      type: str
    version:
      description: Its version.
      type: str
    user:
      description: Who we are there.
      type: str
    namespaces:
      description: The platform's namespaces that are there already.
      type: list
      elements: str
    nodes:
      description: Its nodes, where we may see them.
      type: list
      elements: dict
    unknown_nodes:
      description: Names of the nodes that no host of O(hosts) is.
      type: list
      elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.onprem.plugins.module_utils._kubernetes.access import Wanted, look
from ansible_collections.mlops.onprem.plugins.module_utils._kubernetes.nodes import unknown_to_inventory
from ansible_collections.mlops.onprem.plugins.module_utils._workload.errors import WorkloadError
from ansible_collections.mlops.onprem.plugins.module_utils._workload.options import KUBERNETES


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "namespace": {"type": "str", "required": True},
            "kubernetes": {**KUBERNETES, "default": {}},
            "ports": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "port": {"type": "int", "required": True},
                    "variable": {"type": "str", "required": True},
                },
            },
            "volumes": {"type": "bool", "default": True},
            "hosts": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    params = module.params
    ports = {port["port"]: port["variable"] for port in params["ports"]}
    try:
        seen = look(Wanted(params["namespace"], params["kubernetes"], ports, params["volumes"]))
    except WorkloadError as error:
        module.fail_json(msg=str(error))
    hosts = {name: str(address) for name, address in params["hosts"].items()}
    module.exit_json(
        changed=False,
        problems=seen.problems,
        warnings_found=seen.warnings,
        able=seen.able,
        cluster={
            "server": seen.server,
            "version": seen.version,
            "user": seen.user,
            "namespaces": seen.ours,
            "nodes": [node.facts() for node in seen.nodes],
            "unknown_nodes": unknown_to_inventory(seen.nodes, hosts),
        },
    )


if __name__ == "__main__":
    main()
