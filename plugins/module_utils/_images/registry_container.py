# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's registry as a plain container: what it should be, and how the live one differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

USER = "10001:10001"
CONFIG_MOUNT = "/etc/registry"
_SECOND = 1_000_000_000


@dataclass(frozen=True)
class Registry:
    """What the site wants. *config_dir* is the host's folder with the certificate and the users, if there are any."""

    name: str
    namespace: str
    image: str
    address: str
    port: int
    volume: str
    config_dir: str
    tls: bool
    users: bool
    memory: int
    cpus: float

    def environment(self) -> dict[str, str]:
        values: dict[str, str] = {}
        if self.tls:
            values["REGISTRY_HTTP_TLS_CERTIFICATE"] = f"{CONFIG_MOUNT}/tls.pem"
            values["REGISTRY_HTTP_TLS_KEY"] = f"{CONFIG_MOUNT}/tls.key"
            values["REGISTRY_HTTP_TLS_MINIMUMTLS"] = "tls1.2"
        if self.users:
            values["REGISTRY_AUTH_HTPASSWD_REALM"] = self.namespace
            values["REGISTRY_AUTH_HTPASSWD_PATH"] = f"{CONFIG_MOUNT}/htpasswd"
        return values

    def mounts(self) -> list[dict[str, Any]]:
        mounts: list[dict[str, Any]] = [
            {"Type": "volume", "Source": self.volume, "Target": "/var/lib/registry", "ReadOnly": False}
        ]
        if self.tls or self.users:
            mounts.append({"Type": "bind", "Source": self.config_dir, "Target": CONFIG_MOUNT, "ReadOnly": True})
        return mounts

    def health_check(self) -> dict[str, Any]:
        scheme = "https" if self.tls else "http"
        # The certificate names the host, and this asks from within.
        option = ["--no-check-certificate"] if self.tls else []
        return {
            "Test": ["CMD", "wget", "-q", "-T", "3", "-O", "/dev/null", *option, f"{scheme}://127.0.0.1:5000/"],
            "Interval": 5 * _SECOND,
            "Timeout": 5 * _SECOND,
            "Retries": 3,
            "StartPeriod": 10 * _SECOND,
        }

    def body(self) -> dict[str, Any]:
        """What POST /containers/create takes."""
        return {
            "Image": self.image,
            "User": USER,
            "Env": [f"{name}={value}" for name, value in sorted(self.environment().items())],
            "Labels": {"mlops.namespace": self.namespace, "mlops.role": "registry"},
            "Healthcheck": self.health_check(),
            "ExposedPorts": {"5000/tcp": {}},
            "HostConfig": {
                "RestartPolicy": {"Name": "always"},
                "ReadonlyRootfs": True,
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges"],
                "Memory": self.memory,
                "NanoCpus": int(self.cpus * _SECOND),
                "PidsLimit": 512,
                "PortBindings": {"5000/tcp": [{"HostIp": self.address, "HostPort": str(self.port)}]},
                "Mounts": self.mounts(),
                "Tmpfs": {"/tmp": "size=16m"},  # noqa: S108
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            },
        }


def summary(wanted: Registry, image_id: str) -> dict[str, Any]:
    """The wanted container in the words of *observed*."""
    body = wanted.body()
    host = body["HostConfig"]
    return {
        "image": image_id,
        "user": body["User"],
        "environment": wanted.environment(),
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
        "ports": host["PortBindings"],
        "mounts": sorted([m["Type"], m["Source"], m["Target"], not m["ReadOnly"]] for m in host["Mounts"]),
        "scratch": host["Tmpfs"],
        "log": host["LogConfig"],
        "running": True,
    }


def observed(live: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """The live container, as GET /containers/<name>/json gives it; of its labels those that we set."""
    config, host = live["Config"], live["HostConfig"]
    environment = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    return {
        "image": live["Image"],
        "user": config.get("User"),
        "environment": {n: v for n, v in environment.items() if n.startswith("REGISTRY_")},
        "labels": {name: (config.get("Labels") or {}).get(name) for name in labels},
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
