# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What rendering takes from the cluster."""

from __future__ import annotations

from collections.abc import Sequence

from ..rendering import NO_SALT
from .api import Api, ApiError
from .kinds import SERVICE, SLICE
from .live import Snapshot, label
from .site import WORKLOAD, KubernetesFacts


def facts_of(api: Api, snapshot: Snapshot, namespaces: Sequence[str], *, endpoints: bool) -> KubernetesFacts:
    """``endpoints``: whether anything needs to know where the API answers; ``namespaces``: ours, the edge last."""
    home = snapshot.namespaces.get(snapshot.namespace)
    edge = namespaces[1] if len(namespaces) > 1 else None
    return KubernetesFacts(
        salt=str(home["metadata"]["uid"]) if home is not None else NO_SALT,
        zone_of=snapshot.zones(),
        published=frozenset(
            str(label(thing, WORKLOAD)) for key, thing in snapshot.controllers().items() if key.namespace == edge
        ),
        api_endpoints=_endpoints(api) if endpoints else (),
    )


def _endpoints(api: Api) -> tuple[tuple[str, int], ...]:
    """The Service's address and those behind it: a network plug-in may look before or after it translates."""
    found: set[tuple[str, int]] = set()
    try:
        service = api.find(SERVICE.path("default", "kubernetes"))
        slices = api.items(SLICE, "default", "kubernetes.io/service-name=kubernetes")
    except ApiError as error:
        if error.status != 403:
            raise
        return ()
    if service is not None:
        for address in service["spec"].get("clusterIPs") or []:
            found |= {(str(address), int(port["port"])) for port in service["spec"]["ports"]}
    for item in slices:
        for endpoint in item.get("endpoints") or []:
            for address in endpoint.get("addresses") or []:
                found |= {(str(address), int(port["port"])) for port in item.get("ports") or []}
    return tuple(sorted(found))
