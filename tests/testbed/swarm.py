# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A Swarm of three managers on this machine, to test on.

Each node has a Docker engine of its own with its usual paths. Nothing is shared with the machine's own engine. See the
README beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import nodes
from nodes import BedError, control_python, run, wait_for


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


class Node(nodes.Node):
    data = ("docker",)

    @property
    def socket(self) -> Path:
        return self.directory / "run" / "docker.sock"

    def stop(self) -> None:
        super().stop()
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


class Bed(nodes.Bed[Node]):
    kind = "swarm"
    node_type = Node
    usual_nodes = 3

    def up(self, bare: bool = False) -> None:
        self.refuse_where_impossible(*([] if self.root else ["dockerd"]))
        with self.locked():
            self.make_nodes()
            self._write_inventory()
            if not bare:
                self._start_engines(self.nodes)
                self._make_swarm()

    def start(self, node: Node, bare: bool = False) -> None:
        with self.locked():
            node.start()
            if not bare:
                self._start_engines([node])

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
            python = venv = control_python()
        hosts = {}
        for node in self.nodes:
            hosts[node.name] = {
                "ansible_host": node.address,
                "ansible_connection": "local",
                "ansible_python_interpreter": str(node.interpreter("python", python)),
                "mlops_host_python": str(node.interpreter("venv-python", venv)),
                "testbed_docker_host": f"unix://{node.socket}",
            }
        variables: dict[str, Any] = {"mlops_target": "swarm", "testbed_name": self.name}
        if self.root:
            variables["host_install_python"] = True
        children = {"mlops_managers": {"hosts": hosts}, "mlops_workers": {"hosts": {}}}
        self.write_inventory({"mlops": {"children": children, "vars": variables}})


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
    up.add_argument("--nodes", type=int, default=0, help="how many (default: 3, or as many as there are)")
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

    bed = Bed(options.name, getattr(options, "nodes", 0), getattr(options, "root", None))
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
