# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Who a workload is for the cluster's API: nobody, or the platform's agent."""

from __future__ import annotations

from typing import Any

from ..model import Workload
from .site import KubernetesSite, manifest

RBAC = "rbac.authorization.k8s.io"
_MAKE = ["create", "delete", "get", "list", "patch", "watch"]
_LOOK = ["get", "list", "watch"]

#: What the backend needs inside its namespaces to apply and observe clients' sets. They never have volumes removed,
#: nor roles made.
AGENT_RULES: tuple[dict[str, list[str]], ...] = (
    {
        "apiGroups": [""],
        "resources": ["configmaps", "pods", "secrets", "serviceaccounts", "services"],
        "verbs": _MAKE,
    },
    {
        "apiGroups": [""],
        "resources": ["persistentvolumeclaims"],
        "verbs": ["create", "get", "list", "patch", "watch"],
    },
    {"apiGroups": [""], "resources": ["events", "resourcequotas"], "verbs": _LOOK},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": _MAKE},
    {"apiGroups": ["apps"], "resources": ["controllerrevisions", "replicasets"], "verbs": _LOOK},
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": _MAKE},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": _MAKE},
    {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": _MAKE},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _LOOK},
    {"apiGroups": [RBAC], "resources": ["rolebindings", "roles"], "verbs": ["get", "list"]},
)


def account(workload: Workload, site: KubernetesSite) -> list[dict[str, Any]]:
    """The ServiceAccount, and with cluster_access a Role and its binding in each of our namespaces."""
    labels, home = site.labels(workload), site.namespace_of(workload)
    fields: dict[str, Any] = {"automountServiceAccountToken": False}
    if site.pull_secret:
        # Here and not in the Pod: a registry that comes to want a password restarts nothing.
        fields["imagePullSecrets"] = [{"name": site.pull_secret}]
    found = [manifest("v1", "ServiceAccount", workload.name, home, labels, **fields)]
    if not workload.cluster_access:
        return found
    subjects = [{"kind": "ServiceAccount", "name": workload.name, "namespace": home}]
    role = {"apiGroup": RBAC, "kind": "Role", "name": workload.name}
    for namespace in agent_namespaces(workload, site):
        rules = [*AGENT_RULES, {**_NAMESPACE_ITSELF, "resourceNames": [namespace]}]
        found.append(manifest(f"{RBAC}/v1", "Role", workload.name, namespace, labels, rules=[dict(r) for r in rules]))
        found.append(
            manifest(f"{RBAC}/v1", "RoleBinding", workload.name, namespace, labels, roleRef=role, subjects=subjects)
        )
    return found


def agent_namespaces(workload: Workload, site: KubernetesSite) -> tuple[str, ...]:
    """The edge is there as soon as anything lives in it."""
    edge = site.entry == "host_port" and (bool(site.published) or site.in_edge(workload))
    return (site.namespace, site.edge) if edge else (site.namespace,)


_NAMESPACE_ITSELF: dict[str, list[str]] = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}
