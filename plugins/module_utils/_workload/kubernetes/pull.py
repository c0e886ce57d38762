# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Brings an image to the nodes where a stop-first workload runs, before the old version is stopped.

A Pod of the new image, bound to the node, whose command may be missing in it: the image is there when the container
has been made, whether or not it ran.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from .api import Api, ApiError
from .kinds import POD
from .live import PULL, label
from .render import KubernetesRendered
from .site import KIND, NAME, WORKLOAD, KubernetesSite, manifest
from .state import ended, terminating, waiting

COMMAND = ["true"]


def pull_pods(
    rendered: KubernetesRendered, site: KubernetesSite, running: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One for each node that runs a Pod of the workload."""
    nodes = sorted({str(pod["spec"]["nodeName"]) for pod in running if pod["spec"].get("nodeName")})
    return [_pod(rendered, site, node) for node in nodes]


def start(api: Api, pods: Iterable[dict[str, Any]]) -> None:
    for pod in pods:
        try:
            api.create(POD, pod)
        except ApiError as error:
            if error.reason != "AlreadyExists":  # an interrupted run's
                raise


def pulled(pod: Mapping[str, Any]) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return ended(pod) or any(status.get("imageID") for status in statuses) or waiting(pod)[0] == "RunContainerError"


def is_pull(pod: Mapping[str, Any]) -> bool:
    return label(pod, KIND) == PULL


def remove(api: Api, pods: Iterable[Mapping[str, Any]]) -> None:
    for pod in pods:
        if not terminating(pod):
            api.delete(pod, POD, grace=0)


def _pod(rendered: KubernetesRendered, site: KubernetesSite, node: str) -> dict[str, Any]:
    """With nothing of the workload but its image, its user and what Pod Security asks for; no Service sees it."""
    template = rendered.main["spec"]["template"]["spec"]
    container = template["containers"][0]
    name = f"{rendered.workload.name}-pull-{hashlib.sha256(f'{rendered.image} {node}'.encode()).hexdigest()[:10]}"
    labels = {key: value for key, value in site.labels(rendered.workload).items() if key not in (WORKLOAD, KIND)}
    found = manifest("v1", "Pod", name, rendered.namespace, {**labels, KIND: PULL, NAME: name})
    limited = {"cpu": "50m", "memory": "32Mi"}
    found["spec"] = {
        "nodeName": node,
        "restartPolicy": "Never",
        "serviceAccountName": template["serviceAccountName"],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {key: value for key, value in template["securityContext"].items() if key != "sysctls"},
        "containers": [
            {
                "name": "pull",
                "image": container["image"],
                "imagePullPolicy": container["imagePullPolicy"],
                "command": COMMAND,
                "securityContext": container["securityContext"],
                "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}, "limits": limited},
            }
        ],
    }
    return found
