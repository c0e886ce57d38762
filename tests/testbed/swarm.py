# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A Swarm of three managers on this machine, to test on.

A node is a set of namespaces (mount, network, process, host name) with a file system layered over this machine's, an
address on a bridge of the bed, and a Docker engine of its own with its usual paths. To a role it looks like a host
without systemd. Nothing is shared with the machine's own engine. See the README beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
NODE_SCRIPT = Path(__file__).with_name("node")
TOOLS = ("ip", "iptables", "mount", "nsenter", "pivot_root", "unshare")


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


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


@dataclass(frozen=True)
class Node:
    bed: Bed
    number: int

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
    def link(self) -> str:
        return f"{self.bed.bridge[:13]}-{self.number}"

    @property
    def socket(self) -> Path:
        return self.directory / "run" / "docker.sock"

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
            raise BedError(f"{self.name} is off; bin/testbed swarm start {self.name}")
        return ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--", *command]

    def start(self) -> None:
        """Power on: namespaces, file system, address. No engine yet."""
        if self.pid is not None:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        # Left from the last time it would say "ready" too early, and the engine would start in this machine's /run.
        (self.directory / "run" / "testbed").unlink(missing_ok=True)
        root = [str(self.bed.root)] if self.bed.root else []
        log = (self.directory / "node.log").open("w")
        outer = subprocess.Popen(
            [
                *("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--mount-proc"),
                *(str(NODE_SCRIPT), str(self.directory), self.name, *root),
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
        run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
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
        _remove_control_groups(self.directory / "docker" / "containers")

    def start_engine(self) -> None:
        if self.engine_answers():
            return
        # A killed engine's containerd dies a moment after it; an engine started meanwhile would wait for it in vain.
        script = """
            for attempt in $(seq 50); do
                kill -0 "$(cat /run/docker/containerd/containerd.pid)" || break
                sleep 0.1
            done 2>/dev/null
            rm -f /run/docker.pid
            setsid dockerd >>/var/log/docker.log 2>&1 </dev/null &
        """
        run(*self.enter("sh", "-c", script))

    def engine_answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return bool(self.ask("GET", "/_ping") == "OK")
        return False

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One call to the node's engine."""
        connection = _UnixConnection(self.socket)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 400:
            raise BedError(f"{self.name}: {method} {path}: {answer.status} {text.strip()}")
        return json.loads(text) if answer.headers.get_content_type() == "application/json" and text else text

    def swarm(self) -> dict[str, Any]:
        return dict(self.ask("GET", "/info")["Swarm"])


class Bed:
    def __init__(self, name: str, nodes: int = 3, root: Path | None = None) -> None:
        if not name.isalnum() or len(name) > 8:
            raise BedError(f"--name {name}: letters and digits, 8 at most")
        base = Path(os.environ.get("MLOPS_TESTBED_DIRECTORY", "/var/tmp/mlops-testbed"))
        self.name = name
        self.directory = base / name
        self.bridge = f"bed-{name}"
        # 198.18.0.0/15 is set aside for tests (RFC 2544): no site's network is there.
        self.network = f"198.18.{zlib.crc32(name.encode()) % 250 + 1}"
        with contextlib.suppress(OSError, ValueError):
            nodes, root = json.loads((self.directory / "bed.json").read_text())
        self.root = Path(root) if root else None
        self.nodes = [Node(self, number) for number in range(1, nodes + 1)]

    @property
    def exists(self) -> bool:
        return self.directory.exists()

    def node(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise BedError(f"no node {name}; there are {', '.join(node.name for node in self.nodes)}")

    def up(self, bare: bool = False) -> None:
        self._refuse_where_impossible()
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._locked():
            settings = [len(self.nodes), str(self.root) if self.root else None]
            (self.directory / "bed.json").write_text(json.dumps(settings))
            hosts = ["127.0.0.1 localhost", *(f"{node.address} {node.name}" for node in self.nodes)]
            (self.directory / "hosts").write_text("\n".join(hosts) + "\n")
            self._make_bridge()
            with ThreadPoolExecutor(len(self.nodes)) as pool:
                list(pool.map(Node.start, self.nodes))
            self._write_inventory()
            if not bare:
                self._start_engines(self.nodes)
                self._make_swarm()

    def start(self, node: Node, bare: bool = False) -> None:
        with self._locked():
            node.start()
            if not bare:
                self._start_engines([node])

    def down(self) -> None:
        if self.exists:
            with self._locked(), ThreadPoolExecutor(len(self.nodes)) as pool:
                list(pool.map(Node.stop, self.nodes))
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

    def status(self) -> list[dict[str, Any]]:
        rows = []
        for node in self.nodes:
            row: dict[str, Any] = {"name": node.name, "address": node.address, "power": "on" if node.pid else "off"}
            row["socket"] = f"unix://{node.socket}"
            row["engine"] = "answers" if node.pid and node.engine_answers() else "off"
            if row["engine"] == "answers":
                swarm = node.swarm()
                row["swarm"] = swarm["LocalNodeState"]
                row["manager"] = swarm["ControlAvailable"]
            rows.append(row)
        return rows

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _refuse_where_impossible(self) -> None:
        if os.geteuid():
            raise BedError("the test bed makes namespaces and needs root")
        tools = TOOLS if self.root else (*TOOLS, "dockerd")
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        missing = [tool for tool in tools if not shutil.which(tool, path=path)]
        if missing:
            raise BedError(f"the test bed needs {', '.join(missing)}")

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

    def _start_engines(self, nodes: list[Node]) -> None:
        for node in nodes:
            node.start_engine()
        for node in nodes:
            try:
                wait_for(f"{node.name}'s engine", 60, node.engine_answers)
            except BedError as error:
                log = run(*node.enter("tail", "-n", "15", "/var/log/docker.log"), check=False).stdout
                raise BedError(f"{error}; its log ends:\n{log}") from None

    def _make_swarm(self) -> None:
        first, *others = self.nodes
        if first.swarm()["LocalNodeState"] == "inactive":
            addresses = {"ListenAddr": f"{first.address}:2377", "AdvertiseAddr": f"{first.address}:2377"}
            first.ask("POST", "/swarm/init", {**addresses, "Spec": {}})
        token = first.ask("GET", "/swarm")["JoinTokens"]["Manager"]
        for node in others:
            if node.swarm()["LocalNodeState"] == "inactive":
                addresses = {"ListenAddr": f"{node.address}:2377", "AdvertiseAddr": f"{node.address}:2377"}
                join = {**addresses, "RemoteAddrs": [f"{first.address}:2377"], "JoinToken": token}
                node.ask("POST", "/swarm/join", join)

        def all_ready() -> bool:
            states = [node["Status"]["State"] for node in first.ask("GET", "/nodes")]
            return states.count("ready") >= len(self.nodes)

        wait_for("the nodes to be ready", 60, all_ready)

    def _write_inventory(self) -> None:
        """An inventory whose hosts are the nodes: Ansible's local connection, and an interpreter that enters them."""
        if self.root:
            python, venv = "/usr/bin/python3", "/opt/mlops/venv/bin/python"
        else:
            environment = run(str(CHECKOUT / "bin" / "python-env"), "control").stdout.strip()
            python = venv = f"{environment}/bin/python"
        hosts = {}
        for node in self.nodes:
            wrappers = {}
            for name, interpreter in (("python", python), ("venv-python", venv)):
                wrapper = node.directory / name
                wrapper.write_text(
                    "#!/bin/sh\n"
                    f"read -r pid started <{node.directory}/pid || exit 1\n"
                    f'exec nsenter --target="$pid" --mount --uts --ipc --net --pid -- {interpreter} "$@"\n'
                )
                wrapper.chmod(0o755)
                wrappers[name] = str(wrapper)
            hosts[node.name] = {
                "ansible_host": node.address,
                "ansible_connection": "local",
                "ansible_python_interpreter": wrappers["python"],
                "mlops_host_python": wrappers["venv-python"],
            }
        variables: dict[str, Any] = {"mlops_target": "swarm"}
        if self.root:
            variables["swarm_cluster_install_python"] = True
        children = {"mlops_managers": {"hosts": hosts}, "mlops_workers": {"hosts": {}}}
        inventory = {"mlops": {"children": children, "vars": variables}}
        place = self.directory / "inventory"
        place.mkdir(exist_ok=True)
        # JSON is YAML.
        (place / "hosts.yml").write_text(json.dumps(inventory, indent=2) + "\n")


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


def _remove_control_groups(containers: Path) -> None:
    """Those of containers that had no time to tidy up."""
    if not containers.is_dir():
        return
    for container in containers.iterdir():
        for pattern in (f"docker/{container.name}", f"*/docker/{container.name}"):
            for group in Path("/sys/fs/cgroup").glob(pattern):
                for below in sorted(group.rglob("*/"), reverse=True):
                    with contextlib.suppress(OSError):
                        below.rmdir()
                with contextlib.suppress(OSError):
                    group.rmdir()


def main() -> int:
    parser = argparse.ArgumentParser(prog="testbed swarm", description="A Swarm of three managers on this machine.")
    parser.add_argument("--name", default="swarm", help="several beds can stand side by side (default: swarm)")
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="make it, or what is missing of it")
    up.add_argument("--bare", action="store_true", help="nodes only: no engine started, no Swarm")
    up.add_argument("--nodes", type=int, default=3)
    up.add_argument("--root", type=Path, help="a root file system for the nodes, instead of this machine's")
    verbs.add_parser("down", help="remove it without a trace")
    verbs.add_parser("status", help="say what runs; exit code 1 where a node or an engine is off")
    verbs.add_parser("inventory", help="print the path of an inventory of the nodes, for ansible-playbook -i")
    execute = verbs.add_parser("exec", help="run a command on a node")
    execute.add_argument("node")
    execute.add_argument("command", nargs=argparse.REMAINDER)
    verbs.add_parser("stop", help="pull a node's plug").add_argument("node")
    start = verbs.add_parser("start", help="switch a node on again")
    start.add_argument("node")
    start.add_argument("--bare", action="store_true", help="leave its engine off")
    options = parser.parse_args()

    bed = Bed(options.name, getattr(options, "nodes", 3), getattr(options, "root", None))
    if options.verb == "up":
        bed.up(options.bare)
    elif options.verb == "down":
        bed.down()
    elif not bed.exists:
        raise BedError(f"there is no bed {bed.name}; bin/testbed swarm up makes it")
    elif options.verb == "status":
        rows = bed.status()
        for row in rows:
            print(" ".join(f"{key}={value}" for key, value in row.items()))
        return 0 if all(row["engine"] == "answers" for row in rows) else 1
    elif options.verb == "inventory":
        print(bed.directory / "inventory")
    elif options.verb == "exec":
        command = [part for part in options.command if part != "--"] or ["bash"]
        entered = bed.node(options.node).enter(*command)
        os.execvp(entered[0], entered)
    elif options.verb == "stop":
        bed.node(options.node).stop()
    elif options.verb == "start":
        bed.start(bed.node(options.node), options.bare)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BedError as problem:
        print(f"testbed: {problem}", file=sys.stderr)
        sys.exit(1)
