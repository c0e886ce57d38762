# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the bars ask of a cluster, whichever it is. A site looks with the target's own tools, not the platform's."""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

IMMUTABLE = re.compile(r"(@|^)sha256:[0-9a-f]{64}$|:[0-9a-f]{16}$")
"""An image's name that can't come to mean another one. The registry itself can't come from the registry: its tag is the
hash of what went into it."""

BESIDE = "(registry|image-builder)"
"""Plain containers on the host that builds images: their names, behind the platform's."""


def wait_for(condition: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """Asks again and again until the condition holds; raises with what was waited for."""
    deadline = time.monotonic() + seconds
    last: BaseException | None = None
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except Exception as error:
            last = error
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds:.0f} s: {what}" + (f" ({last})" if last else ""))


class Site(ABC):
    """A cluster with one platform's workloads on it."""

    @abstractmethod
    def running(self) -> dict[str, str]:
        """Running containers, those beside the cluster too: identity -> name. A restarted one is another one."""

    @abstractmethod
    def hardening(self) -> list[str]:
        """What is wrong with the way containers run: users, capabilities, limits, checks, images."""

    @abstractmethod
    def holders(self) -> set[str]:
        """Names of workloads that hold a key to the cluster."""

    @abstractmethod
    def memory(self) -> dict[str, float]:
        """Bytes in use by each container, without what the kernel may drop."""

    @abstractmethod
    def objects(self) -> Iterator[tuple[str, Any]]:
        """What whoever may look at the cluster can read, with its name; not what is in its secrets."""

    @abstractmethod
    def logs(self) -> Iterator[tuple[str, bytes]]: ...

    @abstractmethod
    def crash(self, workload: str) -> None:
        """Its containers end at once; the cluster starts others."""

    @abstractmethod
    def home(self, workload: str) -> str:
        """The name of the host that the one replica of a workload runs on."""

    @abstractmethod
    def scale(self, workload: str, replicas: int) -> None:
        """By hand; returns when so many run."""

    @abstractmethod
    def left(self) -> list[str]:
        """What bears the platform's name, for when nothing should."""


def site_of(facts: dict[str, Any]) -> Site:
    if facts["target"] == "kubernetes":
        from kubernetes_site import KubernetesSite

        return KubernetesSite.of(facts)
    from swarm_site import SwarmSite

    return SwarmSite.of(facts)
