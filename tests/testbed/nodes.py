# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The hosts of a test bed: namespaces on this machine, on a bridge of the bed's own.

A node is a set of namespaces (mount, network, process, host name) with a file system layered over this machine's and an
address on the bridge. To a role it looks like a host without systemd. What runs on the nodes is the business of a kind
of bed: swarm.py, k8s.py. See the README beside this file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, TypeVar

CHECKOUT = Path(__file__).resolve().parents[2]
NODE_SCRIPT = Path(__file__).with_name("node")
TOOLS = ("ip", "iptables", "mount", "nsenter", "pivot_root", "unshare")
CONTROL_GROUPS = Path("/sys/fs/cgroup")


class BedError(Exception):
    """The bed can't be made or used; the message says why."""


def run(*command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, text=True, capture_output=True, check=False, **options)
    if check and done.returncode:
        raise BedError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def wait_for(what: str, seconds: float, condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise BedError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)


def missing_programs(*names: str) -> list[str]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [name for name in names if not shutil.which(name, path=path)]


class Node:
    data: tuple[str, ...] = ()
    """Directories of /var/lib that are the node's own altogether, on this machine's file system rather than a layer."""
    own_control_groups = False
    """Whether the node sees control groups of its own only, as a host does."""

    def __init__(self, bed: Bed[Any], number: int) -> None:
        self.bed = bed
        self.number = number

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def directory(self) -> Path:
        return self.bed.directory / self.name

    @property
    def address(self) -> str:
        return f"{self.bed.network}.{10 + self.number}"

    @property
    def hardware_address(self) -> str:
        """Stays when the node is switched off and on: others would look for it at the old one for half a minute."""
        return ":".join(f"{number:02x}" for number in (2, 0, *map(int, self.address.split("."))))

    @property
    def link(self) -> str:
        return f"{self.bed.bridge[:13]}-{self.number}"

    @property
    def control_group(self) -> str:
        return f"mlops-testbed-{self.bed.name}-{self.name}" if self.own_control_groups else ""

    @property
    def pid(self) -> int | None:
        """The node's first process, as this machine numbers it; None where the node is off."""
        with contextlib.suppress(OSError, ValueError):
            pid, started = (self.directory / "pid").read_text().split()
            if _started(int(pid)) == started:
                return int(pid)
        return None

    def enter(self, *command: str) -> list[str]:
        if self.pid is None:
            raise BedError(f"{self.name} is off; {self.bed.program} start {self.name}")
        namespaces = [*_namespaces(self), "--"]
        return ["nsenter", f"--target={self.pid}", *namespaces, *command]

    def start(self) -> None:
        """Power on: namespaces, file system, address. Nothing runs there yet."""
        if self.pid is not None:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        # Left from the last time it would say "ready" too early, and programs would start in this machine's /run.
        (self.directory / "run" / "testbed").unlink(missing_ok=True)
        root = str(self.bed.root) if self.bed.root else ""
        log = (self.directory / "node.log").open("w")
        outer = subprocess.Popen(
            [
                *("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--mount-proc"),
                *(str(NODE_SCRIPT), str(self.directory), self.name, root, self.control_group, *self.data),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        pid = wait_for(f"{self.name}'s first process", 10, lambda: outer.poll() is not None or _child(outer.pid))
        if outer.poll() is None:
            (self.directory / "pid").write_text(f"{pid} {_started(pid)}\n")
            wait_for(
                f"{self.name}'s file system",
                20,
                lambda: outer.poll() is not None or (self.directory / "run" / "testbed").exists(),
            )
        if outer.poll() is not None:
            raise BedError(f"{self.name} didn't start: {(self.directory / 'node.log').read_text().strip()}")
        run("ip", "link", "delete", self.link, check=False)
        peer = ["peer", "name", "eth0", "address", self.hardware_address, "netns", str(pid)]
        run("ip", "link", "add", self.link, "type", "veth", *peer)
        run("ip", "link", "set", self.link, "master", self.bed.bridge, "up")
        settings = [
            "link set lo up",
            f"address add {self.address}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {self.bed.network}.1",
        ]
        run("nsenter", f"--target={pid}", "--net", "ip", "-batch", "-", input="\n".join(settings) + "\n")

    def stop(self) -> None:
        """Pull the plug: every process of the node dies at once."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            wait_for(f"{self.name} to end", 30, lambda: not Path(f"/proc/{pid}/stat").exists() or _is_zombie(pid))
        (self.directory / "pid").unlink(missing_ok=True)
        run("ip", "link", "delete", self.link, check=False)
        if self.control_group:
            _remove_control_group(self.control_group)

    def interpreter(self, name: str, program: str) -> Path:
        """Makes a program of this machine that runs another on the node, for Ansible's local connection."""
        wrapper = self.directory / name
        wrapper.write_text(
            "#!/bin/sh\n"
            f"read -r pid started <{self.directory}/pid || exit 1\n"
            f'exec nsenter --target="$pid" {" ".join(_namespaces(self))} -- {program} "$@"\n'
        )
        wrapper.chmod(0o755)
        return wrapper


AnyNode = TypeVar("AnyNode", bound=Node)


class Bed(Generic[AnyNode]):
    """The nodes of one name, their bridge, and the rules that let them reach each other and the outside."""

    kind = ""
    node_type: type[AnyNode]
    usual_nodes = 1

    def __init__(self, name: str = "", nodes: int = 0, root: Path | None = None) -> None:
        name = name or self.kind
        if not name.isalnum() or len(name) > 10:
            raise BedError(f"--name {name}: letters and digits, 10 at most")
        base = Path(os.environ.get("MLOPS_TESTBED_DIRECTORY", "/var/tmp/mlops-testbed"))
        self.name = name
        self.directory = base / name
        self.bridge = f"bed-{name}"
        self.program = f"bin/testbed {self.kind}" + ("" if name == self.kind else f" --name {name}")
        settings: dict[str, Any] = {"kind": self.kind, "nodes": nodes or self.usual_nodes, "root": root}
        with contextlib.suppress(OSError, ValueError):
            settings = json.loads((self.directory / "bed.json").read_text())
            settings["nodes"] = max(nodes, settings["nodes"])
        if settings["kind"] != self.kind:
            raise BedError(f"the bed {name} is one of {settings['kind']}; give this one another --name")
        self.network = settings.get("network") or _free_network(name, base)
        self.root = Path(settings["root"]) if settings["root"] else None
        self.nodes = [self.node_type(self, number) for number in range(1, settings["nodes"] + 1)]

    @property
    def exists(self) -> bool:
        return self.directory.exists()

    def node(self, name: str) -> AnyNode:
        for node in self.nodes:
            if node.name == name:
                return node
        raise BedError(f"no node {name}; there are {', '.join(node.name for node in self.nodes)}")

    def make_nodes(self) -> None:
        """The bed's directory, bridge and rules, and its nodes switched on. The bed is locked already."""
        settings = {"kind": self.kind, "nodes": len(self.nodes), "network": self.network}
        settings["root"] = str(self.root) if self.root else None
        (self.directory / "bed.json").write_text(json.dumps(settings))
        hosts = ["127.0.0.1 localhost", *(f"{node.address} {node.name}" for node in self.nodes)]
        (self.directory / "hosts").write_text("\n".join(hosts) + "\n")
        self._make_bridge()
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(lambda node: node.start(), self.nodes))

    def down(self) -> None:
        if self.exists:
            with self.locked(), ThreadPoolExecutor(len(self.nodes)) as pool:
                list(pool.map(lambda node: node.stop(), self.nodes))
        for rule in self._rules():
            while run("iptables", "--wait", *rule("--delete"), check=False).returncode == 0:
                pass
        run("ip", "link", "delete", self.bridge, check=False)
        if (self.directory / "forwarding-was-off").exists():
            Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
        if self.exists:
            shutil.rmtree(self.directory)
        with contextlib.suppress(OSError):
            self.directory.parent.rmdir()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One command at a time; makes the bed's directory."""
        self.directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def refuse_where_impossible(self, *programs: str) -> None:
        if os.geteuid():
            raise BedError("the test bed makes namespaces and needs root")
        if missing := missing_programs(*TOOLS, *programs):
            raise BedError(f"the test bed needs {', '.join(missing)}")

    def write_inventory(self, inventory: dict[str, Any]) -> None:
        place = self.directory / "inventory"
        place.mkdir(exist_ok=True)
        # JSON is YAML.
        (place / "hosts.yml").write_text(json.dumps(inventory, indent=2) + "\n")

    def _rules(self) -> list[Callable[[str], list[str]]]:
        comment = ["-m", "comment", "--comment", f"mlops-testbed-{self.name}"]
        return [
            lambda verb: [verb, "FORWARD", "-i", self.bridge, *comment, "-j", "ACCEPT"],
            lambda verb: [verb, "FORWARD", "-o", self.bridge, *comment, "-j", "ACCEPT"],
            lambda verb: [
                *("--table", "nat", verb, "POSTROUTING", "-s", f"{self.network}.0/24"),
                *("!", "-o", self.bridge, *comment, "-j", "MASQUERADE"),
            ],
        ]

    def _make_bridge(self) -> None:
        if run("ip", "link", "show", self.bridge, check=False).returncode:
            run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "address", "replace", f"{self.network}.1/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")
        for rule in self._rules():
            if run("iptables", "--wait", *rule("--check"), check=False).returncode:
                run("iptables", "--wait", *rule("--insert"))
        forwarding = Path("/proc/sys/net/ipv4/ip_forward")
        if forwarding.read_text().strip() == "0":
            (self.directory / "forwarding-was-off").touch()
            forwarding.write_text("1")


def control_python() -> str:
    """The interpreter of the environment that the control host's programs run in."""
    return run(str(CHECKOUT / "bin" / "python-env"), "control").stdout.strip() + "/bin/python"


def _free_network(name: str, base: Path) -> str:
    """The first three numbers of a network that no other bed has.

    198.18.0.0/15 is set aside for tests (RFC 2544): no site's network is there.
    """
    taken = set()
    for settings in base.glob("*/bed.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            taken.add(json.loads(settings.read_text())["network"])
    first = zlib.crc32(name.encode())
    networks = (f"198.18.{(first + more) % 250 + 1}" for more in range(250))
    return next(network for network in networks if network not in taken)


def _namespaces(node: Node) -> list[str]:
    cgroup = ["--cgroup"] if node.control_group else []
    return ["--mount", "--uts", "--ipc", "--net", "--pid", *cgroup]


def _started(pid: int) -> str | None:
    """When a process started, in clock ticks since boot: a number that comes again is told apart by it."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return None


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def _child(parent: int) -> int | None:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "stat").read_text().rpartition(")")[2].split()[1] == str(parent):
                    return int(entry.name)
    return None


def _remove_control_group(name: str) -> None:
    """With those below it, once the last process in them has died."""

    def removed() -> bool:
        groups = [*CONTROL_GROUPS.glob(name), *CONTROL_GROUPS.glob(f"*/{name}")]
        for group in groups:
            for below in (*sorted(group.rglob("*/"), reverse=True), group):
                with contextlib.suppress(OSError):
                    below.rmdir()
        return not any(group.exists() for group in groups)

    wait_for(f"the control groups {name} to be empty", 30, removed)
