# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A workload's Pod: one container, confined as Pod Security's profile `restricted` wants it."""

from __future__ import annotations

import math
from typing import Any

from ..model import Workload
from ..rendering import image_reference
from .files import Files
from .probes import probes
from .quantity import resources
from .site import KIND, ZONE, KubernetesSite
from .syntax import is_label_value, is_port_name, is_qualified_name

LOW_PORT = "net.ipv4.ip_unprivileged_port_start"
CAPABILITY = "NET_BIND_SERVICE"
# Seconds that a Pod goes on answering once it is to go: until the agent has the event, the gateway has asked the agent
# (every second) and peers have looked its name up again; at worst 3.4 s on a machine with a load of 25 per core. The
# sleep is the kubelet's own: no program of the image.
LEAVE = 5

# Seconds after which what has no data moves away from a node that is gone, once that is known; Kubernetes' own are 300.
MOVES_AFTER = 30


def pod(workload: Workload, site: KubernetesSite, files: Files, problems: list[str], at: str) -> dict[str, Any]:
    """The template. Its labels are those that other objects select by: a change of any restarts the Pods."""
    labels = {**site.selector(workload.name), KIND: workload.kind}
    if workload.zone:
        labels[ZONE] = workload.zone
    spec: dict[str, Any] = {
        "containers": [_container(workload, site, files, problems, at)],
        "restartPolicy": "Never" if workload.is_job else "Always",
        "serviceAccountName": workload.name,
        "automountServiceAccountToken": workload.cluster_access,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": stop_time(workload, site),
        "securityContext": _security(workload),
    }
    if files.volumes:
        spec["volumes"] = files.volumes
    if workload.placement.labels:
        spec["nodeSelector"] = _node_labels(workload, problems, at)
    if tolerations := _tolerations(workload):
        spec["tolerations"] = tolerations
    if workload.placement.spread == "node" and not workload.is_job:
        spec["topologySpreadConstraints"] = [_spread(workload, site)]
    if site.in_edge(workload):
        # What the platform's other workloads are called in their own namespace, they are called here.
        spec["dnsConfig"] = {"searches": [f"{site.namespace}.svc.{site.cluster_domain}"]}
    return {"metadata": {"labels": dict(sorted(labels.items()))}, "spec": spec}


def stop_time(workload: Workload, site: KubernetesSite) -> int:
    """Seconds from the wish that a Pod goes until it is killed."""
    return math.ceil(workload.stop_grace) + (LEAVE if _leaves(workload, site) else 0)


def _leaves(workload: Workload, site: KubernetesSite) -> bool:
    """Whether who talks to a Pod has to learn that it goes while another answers in its place. Not by its routes or
    replicas: those change without a restart."""
    return bool(workload.ports) and not workload.is_job and not site.alone(workload)


def _container(workload: Workload, site: KubernetesSite, files: Files, problems: list[str], at: str) -> dict[str, Any]:
    image = image_reference(workload, site, problems, at)
    if image.startswith("sha256:"):
        problems.append(f"{at}.image: {image} is an image's id: a node can only pull a registry's reference")
    for name in sorted(workload.resources.generic):
        if "/" not in name or not is_qualified_name(name):
            problems.append(
                f"{at}.resources.generic.{name}: Kubernetes knows such by a domain, as in example.com/{name}"
            )
    container: dict[str, Any] = {
        "name": workload.name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": workload.read_only,
            "capabilities": _capabilities(workload, problems, at),
        },
        **probes(workload),
    }
    optional = {
        "command": [literal(word) for word in workload.command],
        "args": [literal(word) for word in workload.args],
        "env": [{"name": name, "value": literal(value)} for name, value in sorted(workload.env.items())],
        "ports": _ports(workload, site, problems, at),
        "resources": resources(workload.resources),
        "volumeMounts": files.mounts,
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE}}} if _leaves(workload, site) else {},
    }
    return {**container, **{name: value for name, value in optional.items() if value}}


def literal(text: str) -> str:
    """The kubelet puts variables in for $(NAME), and makes one dollar of two: what is declared is meant as it is."""
    return text.replace("$", "$$") if "$(" in text or "$$" in text else text


def _security(workload: Workload) -> dict[str, Any]:
    uid, gid = int(workload.uid), int(workload.gid)
    found: dict[str, Any] = {
        "runAsNonRoot": True,
        "runAsUser": uid,
        "runAsGroup": gid,
        "fsGroup": gid,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if CAPABILITY in workload.capabilities or any(port.port < 1024 for port in workload.ports):
        # A capability is nothing to a user who isn't root and may not gain privileges; this is.
        found["sysctls"] = [{"name": LOW_PORT, "value": "0"}]
    return found


def _capabilities(workload: Workload, problems: list[str], at: str) -> dict[str, Any]:
    for index, capability in enumerate(workload.capabilities):
        if capability != CAPABILITY:
            problems.append(
                f"{at}.capabilities[{index}]: {capability} is refused by Pod Security's profile restricted, "
                f"which allows {CAPABILITY} alone"
            )
    found: dict[str, Any] = {"drop": ["ALL"]}
    if workload.capabilities:
        found["add"] = sorted(set(workload.capabilities))
    return found


def _ports(workload: Workload, site: KubernetesSite, problems: list[str], at: str) -> list[dict[str, Any]]:
    found = []
    taken: dict[tuple[int, str], str] = {}
    for index, port in enumerate(workload.ports):
        if not is_port_name(port.name):
            problems.append(
                f"{at}.ports[{index}].name: {port.name!r}: Kubernetes wants a letter in it, and no two dashes in a row"
            )
        key = (port.port, port.protocol)
        if key in taken:
            problems.append(f"{at}.ports[{index}]: {taken[key]} is {port.port}/{port.protocol} already")
        taken[key] = port.name
        item: dict[str, Any] = {"name": port.name, "containerPort": port.port, "protocol": port.protocol.upper()}
        if port.published is not None and site.in_edge(workload):
            item["hostPort"] = port.published
        found.append(item)
    return found


def _node_labels(workload: Workload, problems: list[str], at: str) -> dict[str, str]:
    for key, value in workload.placement.labels.items():
        if not is_qualified_name(key) or not is_label_value(value):
            problems.append(f"{at}.placement.labels.{key}: {value!r}: no node of Kubernetes can have this label")
    return dict(sorted(workload.placement.labels.items()))


def _tolerations(workload: Workload) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for taint in workload.placement.tolerations:
        about = {"operator": "Exists"} if taint.value is None else {"operator": "Equal", "value": taint.value}
        found.append({"key": taint.key, **about, **({"effect": taint.effect} if taint.effect else {})})
    if not workload.is_job and not workload.has_data:
        # What has no data needn't wait five minutes for a node that is gone; a run may see its node come back.
        lost = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": MOVES_AFTER}
        found += [{"key": f"node.kubernetes.io/{taint}", **lost} for taint in ("not-ready", "unreachable")]
    return found


def _spread(workload: Workload, site: KubernetesSite) -> dict[str, Any]:
    found: dict[str, Any] = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": site.selector(workload.name)},
    }
    if not workload.has_data:
        # The replicas of the version that leaves don't count.
        found["matchLabelKeys"] = ["pod-template-hash"]
    return found
