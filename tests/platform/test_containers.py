# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Every container: non-root, read-only root, no capabilities, limits, a health check, an image by digest."""

from __future__ import annotations

import re

from installed import Platform

MEMORY_AT_REST = 1.5e9
IMMUTABLE = re.compile(r"(@|^)sha256:[0-9a-f]{64}$|:[0-9a-f]{16}$")


def test_every_container_is_hardened(platform: Platform) -> None:
    containers = platform.containers()
    assert len(containers) >= 6
    problems = []
    for container in containers:
        name, config, host = container.name, container.attrs["Config"], container.attrs["HostConfig"]
        user = str(config.get("User") or "root").split(":")[0]
        expectations = {
            "runs as root": user not in ("root", "0"),
            "has a writable root": host["ReadonlyRootfs"],
            "keeps capabilities": host.get("CapDrop") == ["ALL"] and not host.get("CapAdd"),
            "is privileged": not host["Privileged"],
            "has no memory limit": host["Memory"] > 0,
            "has no CPU limit": host["NanoCpus"] > 0 or host["CpuQuota"] > 0,
            "has no health check": bool(config.get("Healthcheck", {}).get("Test")),
            # The registry itself can't come from the registry: its tag is the hash of what went into it.
            "is named by a tag that may move": IMMUTABLE.search(config["Image"]) is not None,
        }
        problems += [f"{name} {what}" for what, held in expectations.items() if not held]
    assert not problems


def test_only_the_agent_holds_the_socket(platform: Platform) -> None:
    holders = [
        container.name
        for container in platform.containers()
        if any("docker.sock" in mount.get("Source", "") for mount in container.attrs["Mounts"])
    ]
    assert [name.split(".")[0] for name in holders] == [f"{platform.name}_agent"]


def test_memory_at_rest(platform: Platform) -> None:
    used = {}
    for container in platform.containers():
        memory = container.stats(stream=False)["memory_stats"]
        stats = memory["stats"]
        used[container.name.split(".")[0]] = memory["usage"] - stats.get(
            "total_inactive_file", stats.get("inactive_file", 0)
        )
    total = sum(used.values())
    for name, size in sorted(used.items(), key=lambda item: -item[1]):
        print(f"{size / 1e6:8.1f} MB  {name}")
    print(f"BAR the platform at rest: {total / 1e6:.0f} MB (below {MEMORY_AT_REST / 1e6:.0f})")
    assert total < MEMORY_AT_REST
