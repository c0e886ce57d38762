# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kernel can do, read from what it says of itself. Nothing is loaded or tried."""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Feature:
    name: str
    option: str  # of the kernel's configuration
    module: str
    purpose: str
    evidence: tuple[str, ...] = ()  # paths that are there where the feature is in use


NEEDED = (
    Feature("overlay", "CONFIG_OVERLAY_FS", "overlay", "the file systems of containers", ("sys/module/overlay",)),
    Feature("bridge", "CONFIG_BRIDGE", "bridge", "the networks of containers", ("sys/module/bridge",)),
    Feature("veth", "CONFIG_VETH", "veth", "the networks of containers", ("sys/module/veth",)),
    Feature("vxlan", "CONFIG_VXLAN", "vxlan", "overlay networks between hosts", ("sys/module/vxlan",)),
    Feature(
        "br_netfilter",
        "CONFIG_BRIDGE_NETFILTER",
        "br_netfilter",
        "separating the networks of containers",
        ("proc/sys/net/bridge/bridge-nf-call-iptables",),
    ),
    Feature("nf_nat", "CONFIG_NF_NAT", "nf_nat", "published ports", ("sys/module/nf_nat",)),
)
IPVS = Feature("ip_vs", "CONFIG_IP_VS", "ip_vs", "Swarm's own load balancing", ("proc/net/ip_vs", "sys/module/ip_vs"))
WITHOUT_IPVS = (
    "the kernel has no IPVS: Swarm's virtual service addresses and its ingress mesh don't work here. "
    "The platform needs neither (names resolve to the healthy tasks themselves, ports are published by the host "
    "that runs the task); other stacks of yours may"
)


class Kernel:
    """:param root: where /proc, /sys, /boot and /lib are found."""

    def __init__(self, root: Path = Path("/"), release: str | None = None) -> None:
        self.root = root
        self.release = release or os.uname().release
        self._config = self._read_config()
        self._modules = self._read_modules()
        self._file_systems = _text(root / "proc/filesystems").split()

    def has(self, feature: Feature) -> bool | None:
        """Whether the feature is there, or can be loaded; None where the kernel doesn't tell."""
        if any((self.root / path).exists() for path in feature.evidence) or feature.name in self._file_systems:
            return True
        setting = self._config.get(feature.option) if self._config else None
        if setting == "y":
            return True
        if self._modules is not None:
            return feature.module in self._modules
        if self._config:
            return setting == "m"
        return None

    def missing(self, features: Sequence[Feature] = NEEDED) -> tuple[list[Feature], list[Feature]]:
        """The features that are missing, and those that can't be told."""
        found = {feature: self.has(feature) for feature in features}
        return [f for f in features if found[f] is False], [f for f in features if found[f] is None]

    def missing_controllers(self) -> list[str]:
        """The control groups without which limits are ignored."""
        wanted = ("cpu", "memory", "pids")
        unified = _text(self.root / "sys/fs/cgroup/cgroup.controllers").split()
        if unified:
            return [name for name in wanted if name not in unified]
        rows = [line.split() for line in _text(self.root / "proc/cgroups").splitlines() if not line.startswith("#")]
        enabled = {row[0] for row in rows if len(row) == 4 and row[3] == "1"}
        return [name for name in wanted if name not in enabled] if rows else []

    def _read_config(self) -> dict[str, str]:
        text = ""
        with contextlib.suppress(OSError, EOFError):
            text = gzip.decompress((self.root / "proc/config.gz").read_bytes()).decode()
        text = text or _text(self.root / f"boot/config-{self.release}")
        pairs = (line.partition("=") for line in text.splitlines() if line.startswith("CONFIG_"))
        return {name: value for name, _equals, value in pairs}

    def _read_modules(self) -> set[str] | None:
        directory = self.root / "lib/modules" / self.release
        names: set[str] = set()
        for listing in ("modules.builtin", "modules.dep"):
            for line in _text(directory / listing).splitlines():
                names.add(line.partition(":")[0].rpartition("/")[2].partition(".")[0].replace("-", "_"))
        return names or None


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")
    return ""
