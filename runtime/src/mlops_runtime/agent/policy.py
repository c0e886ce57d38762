# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a client's set may hold. Whoever may hand workloads to the agent must not gain the cluster by it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from _workload import Workload

from .clients import Client

MOST_WORKLOADS = 200
MOST_REPLICAS = 200
_REFERENCE = re.compile(r"(?P<registry>[^/@]+)/[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[\w.-]{1,128})?@sha256:[0-9a-f]{64}")
_SECRETS = "/run/secrets/"


def problems(
    client: Client,
    workloads: Sequence[Workload],
    images: Mapping[str, str],
    *,
    registry: str,
    domain: str,
    others: Mapping[str, str],
    routes: Mapping[tuple[str | None, str], str],
) -> list[str]:
    """Every reason to refuse the set, in words for the client.

    `others`: workloads of other sets -> their set; `routes`: (full host or None, path) that those
    have -> their workload.
    """
    found = [f"images.{name}: {text}" for name, value in sorted(images.items()) if (text := _image(value, registry))]
    if len(workloads) > MOST_WORKLOADS:
        found.append(f"workloads: {len(workloads)} are more than {MOST_WORKLOADS}")
    own = {workload.name for workload in workloads}
    for workload in workloads:
        for item in (workload, *workload.jobs):
            reasons = [*_privileges(item), *_reach(client, item, own, others), *_files(client, item)]
            if item.image not in images:
                reasons.append(f"image: {item.image} is not among the images of this request")
            found += [f"{item.name}.{reason}" for reason in reasons]
        found += [f"{workload.name}.{reason}" for reason in _routes(client, workload, domain, routes)]
    return found


def run_problems(name: str, workload: Workload) -> list[str]:
    """What is refused of a run beside what is refused of any workload."""
    found = []
    if workload.name != name:
        found.append(f"{workload.name}.name: the run of this request is {name}")
    if not workload.is_job:
        found.append(f"{workload.name}.kind: a run is a job")
    if workload.volumes:
        found.append(f"{workload.name}.volumes: would stay behind; ask for scratch directories")
    if workload.jobs:
        found.append(f"{workload.name}.jobs: a run has none")
    return found


def _image(reference: str, registry: str) -> str:
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        return "is not a reference by digest, registry/name@sha256:..."
    if not registry or match["registry"] != registry:
        return f"is not of the site's registry {registry or '(none is set)'}"
    return ""


def _privileges(workload: Workload) -> Iterable[str]:
    if workload.cluster_access:
        yield "cluster_access: is for the platform's own agent"
    if workload.capabilities:
        yield "capabilities: none are given to clients' workloads"
    if not workload.read_only:
        yield "read_only: must stay true; ask for scratch directories"
    if workload.uid.strip("0") == "" or workload.gid.strip("0") == "":
        yield "user: must not be root, nor of root's group"
    if workload.placement.manager:
        yield "placement.manager: clients' workloads don't ask for managers"
    if workload.replicas > MOST_REPLICAS:
        yield f"replicas: {workload.replicas} are more than {MOST_REPLICAS}"
    if workload.resources.limits.memory is None or workload.resources.limits.cpu is None:
        yield "resources.limits: cpu and memory are needed"
    for port in workload.ports:
        if port.published is not None:
            yield f"ports.{port.name}.published: the gateway alone publishes"


def _reach(client: Client, workload: Workload, own: set[str], others: Mapping[str, str]) -> Iterable[str]:
    if workload.name in others:
        yield f"name: {workload.name} belongs to the set {others[workload.name]}"
    if workload.zone is not None and workload.zone not in client.zones:
        yield f"zone: {workload.zone} is not open to {client.name}"
    for name in workload.connects:
        if name not in own and name not in client.connects:
            yield f"connects: {name} is not open to {client.name}"
    for egress in workload.egress:
        if f"{egress.host}:{egress.port}" not in client.egress:
            yield f"egress: {egress.host}:{egress.port} is not open to {client.name}"


def _files(client: Client, workload: Workload) -> Iterable[str]:
    for secret in workload.secrets:
        if secret.name not in client.secrets:
            yield f"secrets: {secret.name} is not lent to {client.name}"
        if not secret.path.startswith(_SECRETS) or ".." in secret.path.split("/"):
            yield f"secrets.{secret.name}.path: {secret.path} is not below {_SECRETS}"


def _routes(
    client: Client, workload: Workload, domain: str, taken: Mapping[tuple[str | None, str], str]
) -> Iterable[str]:
    for route in workload.routes:
        if not route.subdomain:
            yield f"routes.{route.name}.subdomain: hosts outside the domain are not open to {client.name}"
        elif route.host is not None and route.host not in client.hosts:
            yield f"routes.{route.name}.host: {route.host} is not open to {client.name}"
        elif route.host is None and not route.path.startswith(client.paths or ("\0",)):
            yield f"routes.{route.name}.path: {route.path} is not open to {client.name}"
        if route.priority is not None:
            yield f"routes.{route.name}.priority: the agent ranks clients' routes"
        host = route.full_host(domain) if route.host is not None else None
        owner = taken.get((host, route.path)) if not route.headers else None
        if owner is not None:
            yield f"routes.{route.name}: {route.host or 'the domain'}{route.path} belongs to {owner}"
