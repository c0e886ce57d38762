# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Every container: non-root, read-only root, no capabilities, limits, a health check, an image by digest."""

from __future__ import annotations

from installed import Platform
from kubernetes_site import KubernetesSite

MEMORY_AT_REST = 1.5e9


def test_every_container_is_hardened(platform: Platform) -> None:
    assert len(platform.site.running()) >= 6
    assert platform.site.hardening() == []


def test_only_the_agent_holds_a_key_to_the_cluster(platform: Platform) -> None:
    assert platform.site.holders() == {"agent"}


def test_pod_security_restricted_has_nothing_to_say(kubernetes: KubernetesSite) -> None:
    assert kubernetes.pod_security() == []


def test_what_is_not_declared_is_denied(kubernetes: KubernetesSite) -> None:
    assert kubernetes.open_ways() == []


def test_memory_at_rest(platform: Platform) -> None:
    used = platform.site.memory()
    total = sum(used.values())
    for name, size in sorted(used.items(), key=lambda item: -item[1]):
        print(f"{size / 1e6:8.1f} MB  {name}")
    print(f"BAR the platform at rest: {total / 1e6:.0f} MB (below {MEMORY_AT_REST / 1e6:.0f})")
    assert total < MEMORY_AT_REST
