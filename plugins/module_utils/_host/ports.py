# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens where, from /proc/net."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LISTEN = "0A"
EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - compared only
UNCONNECTED = "07"  # a UDP socket that anybody may send to


@dataclass(frozen=True)
class Listener:
    protocol: str
    port: int
    inode: str
    address: str = ""  # empty: all


@dataclass(frozen=True)
class WantedPort:
    """``address``: where it is to be had; empty for all addresses of the host."""

    port: int
    protocol: str
    variable: str
    address: str = ""

    def collides(self, address: str) -> bool:
        """With somebody who listens there."""
        return self.address in EVERYWHERE or address in EVERYWHERE or address == self.address


def listeners(root: Path = Path("/")) -> list[Listener]:
    """The sockets that take connections in this network namespace."""
    found = []
    for protocol, state in (("tcp", LISTEN), ("udp", UNCONNECTED)):
        for table in (protocol, f"{protocol}6"):
            with contextlib.suppress(OSError):
                for line in (root / "proc/net" / table).read_text().splitlines()[1:]:
                    fields = line.split()
                    address, dummy, port = fields[1].rpartition(":")
                    if fields[3] == state:
                        found.append(Listener(protocol, int(port, 16), fields[9], _address(address)))
    return found


def _address(digits: str) -> str:
    """The kernel writes 32-bit words in the machine's own order."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    if not any(packed):
        return ""
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, packed)


def owners(inodes: Iterable[str], root: Path = Path("/")) -> dict[str, tuple[int, str]]:
    """The process (number and name) of each socket; sockets of other namespaces' processes stay unknown."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[str, tuple[int, str]] = {}
    if not wanted:
        return found
    for process in (root / "proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                inode = wanted.get(str(descriptor.readlink()))
                if inode:
                    found[inode] = (int(process.name), (process / "comm").read_text().strip())
    return found


def container_name(container: Mapping[str, Any]) -> str:
    return str((container.get("Names") or ["/?"])[0]).lstrip("/")


def is_ours(container: Mapping[str, Any], name: str) -> bool:
    """Whether a container is the platform's: a task of one of its services, or one of its few plain containers."""
    service = (container.get("Labels") or {}).get("com.docker.swarm.service.name", "")
    return str(service).startswith(f"{name}_") or container_name(container).startswith(f"{name}-")


def taken(
    wanted: Sequence[WantedPort], containers: Sequence[Mapping[str, Any]], name: str, root: Path = Path("/")
) -> list[tuple[WantedPort, str]]:
    """The ports that something has which isn't the platform's, and what that is."""
    result = []
    open_sockets = listeners(root)
    for port in wanted:
        published = [
            container
            for container in containers
            for mapping in container.get("Ports") or ()
            if mapping.get("PublicPort") == port.port
            and mapping.get("Type", "tcp") == port.protocol
            and port.collides(str(mapping.get("IP") or ""))
        ]
        foreign = [container for container in published if not is_ours(container, name)]
        if foreign:
            result.append((port, f"the container {container_name(foreign[0])}"))
            continue
        if published:
            continue
        rivals = [
            s for s in open_sockets if (s.protocol, s.port) == (port.protocol, port.port) and port.collides(s.address)
        ]
        if not rivals:
            continue
        holders = owners({rival.inode for rival in rivals}, root)
        if holders:
            pid, program = sorted(holders.values())[0]
            result.append((port, f"{program} (process {pid})"))
        else:
            result.append((port, "a process of the kernel or of another namespace"))
    return result
