# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The backend of a target. Static imports: Ansible ships only what it finds imported."""

from __future__ import annotations

from typing import Any

from .base import Backend
from .errors import WorkloadError
from .kubernetes.backend import KubernetesBackend
from .swarm.backend import SwarmBackend

TARGETS = ("swarm", "kubernetes")


def backend(target: str, namespace: str, **options: Any) -> Backend:
    """``options``: domain, wait_timeout, registry_auth; docker_host for a Swarm, kubernetes for Kubernetes."""
    docker_host, kubernetes = options.pop("docker_host", None), options.pop("kubernetes", None)
    if target == "swarm":
        return SwarmBackend(namespace, host=docker_host, **options)
    if target == "kubernetes":
        return KubernetesBackend(namespace, kubernetes=kubernetes, **options)
    raise WorkloadError(f"There is no target {target!r} (known: {', '.join(TARGETS)})")
