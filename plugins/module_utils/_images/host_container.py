# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain container on one host, beside the cluster: what it should be, and how the live one differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

USER = "10001:10001"
_SECOND = 1_000_000_000


@dataclass(frozen=True)
class HostContainer:
    """What the site wants. Of the live one's variables only those that begin with *prefix* are looked at."""

    name: str
    namespace: str
    role: str
    image: str
    prefix: str
    health: Sequence[str]
    """The command that says whether it is healthy."""
    start_period: int
    memory: int
    cpus: float
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    """Volume to where it is mounted."""
    folders: Mapping[str, str] = field(default_factory=dict)
    """Folder of the host to where it is mounted, read-only."""
    ports: Mapping[str, list[dict[str, str]]] = field(default_factory=dict)
    host_network: bool = False
    extra_hosts: Sequence[str] = ()
    """Names beside those that the host knows, ``name:address``."""

    def mounts(self) -> list[dict[str, Any]]:
        return [
            *(
                {"Type": "volume", "Source": source, "Target": target, "ReadOnly": False}
                for source, target in self.volumes.items()
            ),
            *(
                {"Type": "bind", "Source": source, "Target": target, "ReadOnly": True}
                for source, target in self.folders.items()
            ),
        ]

    def health_check(self) -> dict[str, Any]:
        return {
            "Test": ["CMD", *self.health],
            "Interval": 5 * _SECOND,
            "Timeout": 5 * _SECOND,
            "Retries": 3,
            "StartPeriod": self.start_period * _SECOND,
        }

    def body(self) -> dict[str, Any]:
        """What POST /containers/create takes."""
        return {
            "Image": self.image,
            "User": USER,
            "Env": [f"{name}={value}" for name, value in sorted(self.environment.items())],
            "Labels": {"mlops.namespace": self.namespace, "mlops.role": self.role},
            "Healthcheck": self.health_check(),
            "ExposedPorts": {port: {} for port in self.ports},
            "HostConfig": {
                "RestartPolicy": {"Name": "always"},
                "ReadonlyRootfs": True,
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges"],
                "Memory": self.memory,
                "NanoCpus": int(self.cpus * _SECOND),
                "PidsLimit": 512,
                "PortBindings": dict(self.ports),
                "Mounts": self.mounts(),
                "Tmpfs": {"/tmp": "size=16m"},  # noqa: S108 a mount of the container's, in memory
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
                **({"NetworkMode": "host"} if self.host_network else {}),
                **({"ExtraHosts": list(self.extra_hosts)} if self.extra_hosts else {}),
            },
        }


def summary(wanted: HostContainer, image_id: str) -> dict[str, Any]:
    """The wanted container in the words of *observed*."""
    body = wanted.body()
    host = body["HostConfig"]
    return {
        "image": image_id,
        "user": body["User"],
        "environment": dict(wanted.environment),
        "labels": body["Labels"],
        "health_check": body["Healthcheck"],
        "restart": "always",
        "read_only": True,
        "capabilities_dropped": ["ALL"],
        "security": ["no-new-privileges"],
        "privileged": False,
        "memory": host["Memory"],
        "cpus": host["NanoCpus"],
        "pids": host["PidsLimit"],
        "host_network": wanted.host_network,
        "extra_hosts": list(wanted.extra_hosts),
        "ports": host["PortBindings"],
        "mounts": sorted([m["Type"], m["Source"], m["Target"], not m["ReadOnly"]] for m in host["Mounts"]),
        "scratch": host["Tmpfs"],
        "log": host["LogConfig"],
        "running": True,
    }


def observed(live: Mapping[str, Any], wanted: HostContainer) -> dict[str, Any]:
    """The live container, as GET /containers/<name>/json gives it; of its labels those that we set."""
    config, host = live["Config"], live["HostConfig"]
    environment = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    return {
        "image": live["Image"],
        "user": config.get("User"),
        "environment": {n: v for n, v in environment.items() if n.startswith(wanted.prefix)},
        "labels": {name: (config.get("Labels") or {}).get(name) for name in wanted.body()["Labels"]},
        "health_check": {
            name: (config.get("Healthcheck") or {}).get(name)
            for name in ("Test", "Interval", "Timeout", "Retries", "StartPeriod")
        },
        "restart": host["RestartPolicy"]["Name"],
        "read_only": host["ReadonlyRootfs"],
        "capabilities_dropped": host.get("CapDrop") or [],
        "security": host.get("SecurityOpt") or [],
        "privileged": host.get("Privileged", False),
        "memory": host["Memory"],
        "cpus": host["NanoCpus"],
        "pids": host.get("PidsLimit"),
        "host_network": host.get("NetworkMode") == "host",
        "extra_hosts": host.get("ExtraHosts") or [],
        "ports": host.get("PortBindings") or {},
        "mounts": sorted(
            [mount["Type"], mount.get("Name") or mount["Source"], mount["Destination"], mount["RW"]]
            for mount in live.get("Mounts") or []
        ),
        "scratch": host.get("Tmpfs") or {},
        "log": {"Type": host["LogConfig"]["Type"], "Config": host["LogConfig"].get("Config") or {}},
        "running": live["State"]["Running"],
    }


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [name for name in after if before.get(name) != after[name]]
