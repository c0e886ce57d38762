# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The backend of a target. Static imports: Ansible ships only what it finds imported."""

from __future__ import annotations

from typing import Any

from .base import Backend
from .errors import WorkloadError
from .swarm import SwarmBackend

TARGETS = ("swarm",)


def backend(target: str, namespace: str, **options: Any) -> Backend:
    """``options`` as the backend's class takes them: domain, wait_timeout, host, registry_auth."""
    if target == "swarm":
        return SwarmBackend(namespace, **options)
    raise WorkloadError(f"There is no target {target!r} (known: {', '.join(TARGETS)})")
