# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The options that the modules about workloads share, as Ansible describes options: plain data."""

from __future__ import annotations

from typing import Any

from .kubernetes.site import ENTRIES

KUBERNETES: dict[str, Any] = {
    "type": "dict",
    "options": {
        "kubeconfig": {"type": "path"},
        "context": {"type": "str"},
        "storage_class": {"type": "str"},
        "entry": {"type": "str", "choices": list(ENTRIES), "default": ENTRIES[0]},
        "cluster_domain": {"type": "str", "default": "cluster.local"},
        "manage_namespaces": {"type": "bool", "default": True},
        "force_conflicts": {"type": "bool", "default": False},
    },
}

#: The fragment mlops.onprem.workload.
CLUSTER: dict[str, Any] = {
    "target": {"type": "str", "choices": ["swarm", "kubernetes"], "default": "swarm"},
    "namespace": {"type": "str", "required": True},
    "docker_host": {"type": "str"},
    "kubernetes": KUBERNETES,
}

#: The fragment mlops.onprem.workload.declared.
DECLARED: dict[str, Any] = {
    "images": {"type": "dict", "default": {}},
    "secret_values": {"type": "dict", "default": {}, "no_log": True},
    "domain": {"type": "str", "default": "localhost"},
    "registry_auth": {
        "type": "dict",
        "no_log": True,
        "options": {
            "username": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "server": {"type": "str"},
        },
    },
}
