# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Where a set goes on Kubernetes: namespaces, names and labels of what is made there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..model import Workload
from ..rendering import Place

MANAGER = "mlops.onprem"  # field manager, and app.kubernetes.io/managed-by
PREFIX = "mlops.onprem/"

# Labels.
NAME = "app.kubernetes.io/name"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"
NAMESPACE = PREFIX + "namespace"
SET = PREFIX + "set"
WORKLOAD = PREFIX + "workload"
KIND = PREFIX + "kind"
ZONE = PREFIX + "zone"

# Annotations of the Deployment, StatefulSet or Job. All but IMAGE are JSON.
IMAGE = PREFIX + "image"
ROUTES = PREFIX + "routes"
METRICS = PREFIX + "metrics"
UPDATE = PREFIX + "update"
LABELS = PREFIX + "labels"

ENTRIES = ("host_port", "node_port", "load_balancer")
PULL_SECRET = "mlops.registry"  # noqa: S105 - the name of an object
NAMESPACE_NAME = "kubernetes.io/metadata.name"  # the API server's own label of a Namespace


@dataclass(frozen=True)
class KubernetesFacts:
    """What only the cluster knows: a salt, in which zones its workloads are, which of them live in the edge namespace,
    and where its API answers."""

    salt: str
    zone_of: Mapping[str, str | None] = field(default_factory=dict)
    published: Collection[str] = ()
    api_endpoints: tuple[tuple[str, int], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "salt": self.salt,
            "zone_of": dict(self.zone_of),
            "published": sorted(self.published),
            "api_endpoints": [list(endpoint) for endpoint in self.api_endpoints],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> KubernetesFacts:
        return cls(
            str(data["salt"]),
            dict(data.get("zone_of") or {}),
            frozenset(data.get("published") or ()),
            tuple((str(host), int(port)) for host, port in data.get("api_endpoints") or ()),
        )


@dataclass(frozen=True)
class KubernetesSite(Place):
    """``published``: the workloads, of any set, that live in the edge namespace. ``entry``: how clients from outside
    get in. ``api_endpoints``: where the cluster's API answers. ``pull_secret``: what the nodes pull with, if at all."""

    published: Collection[str] = frozenset()
    entry: str = "host_port"
    cluster_domain: str = "cluster.local"
    storage_class: str = ""
    api_endpoints: tuple[tuple[str, int], ...] = ()
    pull_secret: str | None = None

    @property
    def edge(self) -> str:
        return f"{self.namespace}-edge"

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where workloads may live."""
        return (self.namespace, self.edge) if self.entry == "host_port" else (self.namespace,)

    def in_edge(self, workload: Workload) -> bool:
        """Host ports need a namespace that allows them."""
        return self.entry == "host_port" and publishes(workload)

    def alone(self, workload: Workload) -> bool:
        """Whether the old instance must be gone before the new one starts: host ports are as narrow as a volume."""
        return workload.has_data or self.in_edge(workload) or workload.update.order == "stop-first"

    def namespace_of(self, workload: Workload) -> str:
        return self.edge if self.in_edge(workload) else self.namespace

    def namespace_of_peer(self, name: str) -> str:
        return self.edge if self.entry == "host_port" and name in self.published else self.namespace

    def common_labels(self) -> dict[str, str]:
        return {PART_OF: self.namespace, MANAGED_BY: MANAGER, NAMESPACE: self.namespace}

    def labels(self, workload: Workload) -> dict[str, str]:
        """The labels of every object of a workload."""
        found = {
            **self.common_labels(),
            NAME: workload.name,
            SET: self.set_name,
            WORKLOAD: workload.name,
            KIND: workload.kind,
        }
        return {**found, ZONE: workload.zone} if workload.zone else found

    def selector(self, name: str) -> dict[str, str]:
        """The labels that the Pods of a workload have for ever."""
        return {NAMESPACE: self.namespace, WORKLOAD: name}


def publishes(workload: Workload) -> bool:
    return any(port.published is not None for port in workload.ports)


def site_for(
    namespace: str,
    set_name: str,
    declared: Iterable[Workload],
    *,
    domain: str,
    images: Mapping[str, str],
    secret_values: Mapping[str, str],
    registry_auth: Mapping[str, str],
    kubernetes: Mapping[str, Any],
    facts: KubernetesFacts,
    lenient: bool = False,
) -> KubernetesSite:
    """Where a set goes, from what the user says (``kubernetes``: the backend's options) and what the cluster says."""
    declared = list(declared)
    entry = kubernetes.get("entry") or ENTRIES[0]
    own = {workload.name for workload in declared}
    published = {name for name in facts.published if name not in own}
    published |= {workload.name for workload in declared if publishes(workload)}
    return KubernetesSite(
        namespace=namespace,
        set_name=set_name,
        domain=domain,
        images=images,
        secret_values=secret_values,
        zone_of={**facts.zone_of, **{workload.name: workload.zone for workload in declared}},
        salt=facts.salt,
        lenient=lenient,
        published=frozenset(published) if entry == "host_port" else frozenset(),
        entry=entry,
        cluster_domain=kubernetes.get("cluster_domain") or "cluster.local",
        storage_class=kubernetes.get("storage_class") or "",
        api_endpoints=facts.api_endpoints,
        pull_secret=PULL_SECRET if registry_auth else None,
    )


def manifest(
    api: str, kind: str, name: str, namespace: str, labels: Mapping[str, str], **fields: Any
) -> dict[str, Any]:
    """An object with its metadata; ``fields`` are its other top-level fields."""
    metadata = {"name": name, "namespace": namespace, "labels": dict(sorted(labels.items()))}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **fields}
