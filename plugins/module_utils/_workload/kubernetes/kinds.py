# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of objects that are made and looked at, and their paths in the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import WorkloadError


@dataclass(frozen=True)
class Kind:
    name: str
    api: str  # apiVersion
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        return self.api.rpartition("/")[0]

    def path(self, namespace: str | None = None, name: str | None = None, part: str = "") -> str:
        found = f"/apis/{self.api}" if self.group else f"/api/{self.api}"
        if self.namespaced and namespace:
            found += f"/namespaces/{namespace}"
        found += f"/{self.plural}"
        if name is not None:
            found += f"/{name}"
        return f"{found}/{part}" if part else found


_RBAC = "rbac.authorization.k8s.io/v1"

NAMESPACE = Kind("Namespace", "v1", "namespaces", namespaced=False)
NODE = Kind("Node", "v1", "nodes", namespaced=False)
STORAGE_CLASS = Kind("StorageClass", "storage.k8s.io/v1", "storageclasses", namespaced=False)
POD = Kind("Pod", "v1", "pods")
EVENT = Kind("Event", "v1", "events")
QUOTA = Kind("ResourceQuota", "v1", "resourcequotas")
SLICE = Kind("EndpointSlice", "discovery.k8s.io/v1", "endpointslices")
SERVICE_ACCOUNT = Kind("ServiceAccount", "v1", "serviceaccounts")
ROLE = Kind("Role", _RBAC, "roles")
ROLE_BINDING = Kind("RoleBinding", _RBAC, "rolebindings")
CONFIG_MAP = Kind("ConfigMap", "v1", "configmaps")
SECRET = Kind("Secret", "v1", "secrets")
CLAIM = Kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims")
POLICY = Kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies")
SERVICE = Kind("Service", "v1", "services")
BUDGET = Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets")
DEPLOYMENT = Kind("Deployment", "apps/v1", "deployments")
STATEFUL_SET = Kind("StatefulSet", "apps/v1", "statefulsets")
JOB = Kind("Job", "batch/v1", "jobs")

#: What runs Pods.
CONTROLLERS = (DEPLOYMENT, STATEFUL_SET, JOB)
#: What rendering makes inside a namespace.
MADE = (
    SERVICE_ACCOUNT,
    ROLE,
    ROLE_BINDING,
    CONFIG_MAP,
    SECRET,
    CLAIM,
    POLICY,
    SERVICE,
    BUDGET,
    *CONTROLLERS,
)
_BY_NAME = {kind.name: kind for kind in (NAMESPACE, POD, *MADE)}


def kind_named(name: str) -> Kind:
    return _BY_NAME[name]


def kind_of(thing: Mapping[str, Any]) -> Kind:
    found = _BY_NAME.get(str(thing.get("kind")))
    if found is None or found.api != thing.get("apiVersion"):
        raise WorkloadError(f"There is no such kind of object here: {thing.get('apiVersion')} {thing.get('kind')}")
    return found


@dataclass(frozen=True, order=True)
class Key:
    """Which object: there is one of a kind, namespace and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} in {self.namespace}" if self.namespace else f"{self.kind} {self.name}"


def key_of(thing: Mapping[str, Any]) -> Key:
    metadata = thing["metadata"]
    return Key(str(thing["kind"]), str(metadata.get("namespace") or ""), str(metadata["name"]))
