# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What the modules about workloads share."""

    DOCUMENTATION = r"""
options:
  target:
    description: What the workloads run on.
    type: str
    choices: [swarm, kubernetes]
    default: swarm
  namespace:
    description:
      - Name of the platform. Everything that is made carries it in its name and as the label C(mlops.namespace).
    type: str
    required: true
  docker_host:
    description:
      - Address of a manager's Docker engine.
      - Falls back to the environment variable E(DOCKER_HOST), then to V(unix:///var/run/docker.sock).
    type: str
  kubernetes:
    description: How a Kubernetes cluster is reached and used.
    type: dict
    suboptions:
      kubeconfig:
        description:
          - File that says how the cluster is reached, on the host that runs the module.
          - Falls back to the environment variable E(KUBECONFIG), then to C(~/.kube/config), then to what a Pod is
            given.
        type: path
      context:
        description: The context to take from it, in the place of its current one.
        type: str
      storage_class:
        description: Storage class of volumes; the cluster's default one where it isn't given.
        type: str
      entry:
        description:
          - How clients from outside reach published ports.
          - V(host_port) takes ports of the nodes, in a namespace of its own, which has the name C(<namespace>-edge).
          - V(node_port) and V(load_balancer) make Services of these types.
        type: str
        choices: [host_port, node_port, load_balancer]
        default: host_port
      cluster_domain:
        description: Domain of the cluster's Services.
        type: str
        default: cluster.local
      manage_namespaces:
        description: Whether the namespaces are made and labelled; otherwise they must exist, and are left as they are.
        type: bool
        default: true
      force_conflicts:
        description: Whether fields that another field manager owns are taken over; otherwise they are an error.
        type: bool
        default: false
requirements:
  - Python 3.11 or newer on the host that runs the module, with the package C(docker) or C(kubernetes)
  - Docker Engine 20.10 or newer on that host, as a manager of a Swarm; or Kubernetes 1.30 or newer
"""

    DECLARED = r"""
options:
  images:
    description:
      - References of images by the names that workloads use.
      - On a Swarm a reference without a digest is looked up; where it has one node an image that exists only there
        will do.
      - On Kubernetes references must have a digest. Nodes pull on their own, once, so that under a tag one could keep
        another image than its neighbour has.
    type: dict
    default: {}
  secret_values:
    description:
      - Values of secrets by name.
      - A value of eight characters or more that turns up in a variable, an argument, a label or a config file is
        refused.
    type: dict
    default: {}
  domain:
    description: The platform's domain, which routes put their host names before.
    type: str
    default: localhost
  registry_auth:
    description: What the nodes pull images with, where their registry asks for it.
    type: dict
    suboptions:
      username:
        description: User name.
        type: str
        required: true
      password:
        description: Password.
        type: str
        required: true
      server:
        description: Address of the registry.
        type: str
"""

    ATTRIBUTES = r"""
options: {}
attributes:
  action_group:
    description: The action group that the module belongs to, for C(module_defaults).
    support: full
    membership:
      - mlops.onprem.platform
"""
