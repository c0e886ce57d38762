# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes cluster on this machine, to test on.

The first node is control plane and worker, the others are workers; each has a containerd, a kubelet and a kube-proxy of
its own. Nothing is shared with the machine's own engine. See the README beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import io
import json
import os
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import k8s_components
import k8s_programs
import nodes
from k8s_api import Api, resolves
from k8s_certificates import DAY, Authority, as_file, secret_file
from k8s_components import Host
from nodes import BedError, control_python, run, wait_for

KEEPER = Path(__file__).with_name("keep")
BOOT = "/proc/sys/kernel/random/boot_id"
# What a kubelet sets on a host; here it would be this machine. Read by the node only, as if they were set already.
TUNABLES = {
    "/proc/sys/kernel/keys/root_maxbytes": "25000000",
    "/proc/sys/kernel/keys/root_maxkeys": "1000000",
    "/proc/sys/kernel/panic": "10",
    "/proc/sys/kernel/panic_on_oops": "1",
    "/proc/sys/vm/overcommit_memory": "1",
    "/proc/sys/vm/panic_on_oom": "0",
}
PREPARE = """
set -eu
mount --make-rshared /
for file in $(cd /run/identity && find . -type f | sed 's/^\\.//'); do
    [ ! -e "$file" ] || mount --bind "/run/identity$file" "$file"
done
echo 1 >/proc/sys/net/ipv4/ip_forward
"""


class Node(nodes.Node):
    bed: Bed
    data = ("containerd", "etcd", "kubelet", "volumes")
    own_control_groups = True

    @property
    def host(self) -> Host:
        resolv_conf = run(*self.enter("cat", "/etc/resolv.conf")).stdout
        return Host(
            name=self.name,
            number=self.number,
            address=self.address,
            control_plane=self.number == 1,
            server=self.bed.server,
            name_servers=k8s_components.name_servers(resolv_conf),
            bridged_packets_seen=k8s_components.bridged_packets_seen(),
        )

    @property
    def components(self) -> tuple[str, ...]:
        if self.number == 1:
            return (*k8s_components.CONTROL_PLANE, k8s_components.CLUSTER_NAMES, *k8s_components.EVERY_NODE)
        return k8s_components.EVERY_NODE

    def component(self, name: str) -> str:
        if name not in self.components:
            raise BedError(f"{self.name} runs {', '.join(self.components)}; not {name}")
        return name

    def prepare(self, authority: Authority) -> None:
        """What a node needs before its components start; once after it was switched on."""
        if not (self.directory / "run" / "prepared").exists():
            identity = uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.name}.{self.bed.name}.{self.bed.directory}")
            own = {
                **TUNABLES,
                BOOT: str(uuid.uuid4()),
                "/sys/class/dmi/id/product_uuid": str(identity),
            }
            content = {f"/run/identity{path}": f"{value}\n".encode() for path, value in own.items()}
            content |= dict.fromkeys(("/etc/machine-id", "/var/lib/dbus/machine-id"), f"{identity.hex}\n".encode())
            content["/usr/local/sbin/testbed-keep"] = KEEPER.read_bytes()
            self.write(content | k8s_components.files(self.host, authority))
            run(*self.enter("sh", "-c", PREPARE))
        # Pods of other nodes are behind those; to everyone else a Pod looks like its node.
        lines = [
            f"ip route replace {k8s_components.PODS}.{other.number}.0/24 via {other.address}"
            for other in self.bed.nodes
            if other is not self
        ]
        pods = f"{k8s_components.PODS}.0.0/16"
        rule = f"POSTROUTING -s {pods} ! -d {pods} -j MASQUERADE"
        lines.append(f"iptables -w -t nat -C {rule} 2>/dev/null || iptables -w -t nat -A {rule}")
        run(*self.enter("sh", "-e", "-c", "\n".join(lines)))
        self.write({"/etc/hosts": (self.bed.directory / "hosts").read_bytes()})
        (self.directory / "run" / "prepared").touch()

    def write(self, content: dict[str, bytes]) -> None:
        """Files on the node; keys are nobody else's."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path, data in content.items():
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size = len(data)
                entry.mode = 0o600 if path.endswith((".key", ".conf")) else 0o755 if "/sbin/" in path else 0o644
                tar.addfile(entry, io.BytesIO(data))
        command = self.enter("tar", "-x", "-C", "/", "--no-same-owner", "--unlink-first")
        done = subprocess.run(command, input=archive.getvalue(), capture_output=True, check=False)
        if done.returncode:
            raise BedError(f"{self.name}: {done.stderr.decode().strip()}")

    def process(self, name: str, file: str = "pid") -> int | None:
        """A component's process, or the one that keeps it up (``keeper``), as the node numbers it."""
        if self.pid is None:
            return None
        with contextlib.suppress(OSError, ValueError):
            number = int((self.directory / "run" / "components" / f"{name}.{file}").read_text())
            if not run(*self.enter("kill", "-0", str(number)), check=False).returncode:
                return number
        return None

    def start_component(self, name: str) -> None:
        if self.process(name, "keeper") is not None:
            return
        command = ["/usr/local/sbin/testbed-keep", name, *k8s_components.command(self.host, name)]
        subprocess.Popen(
            self.enter("setsid", "--fork", *command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ).wait()
        wait_for(f"{self.name}'s {name} to be started", 10, lambda: self.process(name))

    def stop_component(self, name: str) -> None:
        """Kills it, with the process that would start it again."""
        for file in ("keeper", "pid"):
            if number := self.process(name, file):
                run(*self.enter("kill", "-KILL", str(number)), check=False)
        wait_for(f"{self.name}'s {name} to end", 10, lambda: self.process(name) is None)

    def restart_component(self, name: str) -> None:
        """Kills it; what keeps it up starts it again."""
        before = self.process(name)
        if before is None:
            self.start_component(name)
            return
        run(*self.enter("kill", "-KILL", str(before)))
        wait_for(f"{self.name}'s {name} to be started again", 10, lambda: self.process(name) not in (None, before))

    def start_containers(self) -> None:
        """containerd with the images that no registry has; only then does a kubelet make sense."""
        self.start_component("containerd")

        def answers() -> bool:
            return not run(*self.enter("ctr", "version"), check=False).returncode

        self.bed.wait(f"{self.name}'s containerd", 30, answers, [(self, "containerd")])
        for archive in k8s_programs.image_archives():
            command = self.enter("ctr", "--namespace=k8s.io", "images", "import", "-")
            done = subprocess.run(command, input=archive, capture_output=True, check=False)
            if done.returncode:
                raise BedError(f"{self.name}: {done.stderr.decode().strip()}")
        for name in k8s_components.EVERY_NODE:
            self.start_component(name)

    def is_ready(self, registered: dict[str, Any] | None) -> bool:
        """Whether the API's object for this node says so, and means what runs now rather than before it was off."""
        if registered is None or registered["status"].get("nodeInfo", {}).get("bootID") != self.boot:
            return False
        conditions = registered["status"].get("conditions", [])
        return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

    @property
    def boot(self) -> str:
        """Identifies the time since the node was last switched on."""
        return (self.directory / "run" / "identity" / BOOT.lstrip("/")).read_text().strip()

    def log(self, name: str, lines: int = 8) -> str:
        if self.pid is None:
            return f"{self.name} is off"
        text = run(*self.enter("tail", "-n", str(lines), f"/var/log/{name}.log"), check=False).stdout
        return f"the last lines of {self.name}'s {name} (/var/log/{name}.log there):\n{text.rstrip()}"


class Bed(nodes.Bed[Node]):
    kind = "kubernetes"
    node_type = Node

    @property
    def server(self) -> str:
        return f"https://{self.nodes[0].address}:6443"

    @property
    def context(self) -> str:
        return f"testbed-{self.name}"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def authority(self) -> Authority:
        return Authority(self.directory / "pki")

    def api(self) -> Api:
        return Api(self.kubeconfig)

    def up(self) -> None:
        if os.geteuid() == 0:
            k8s_programs.install()
        self.refuse_where_impossible(*k8s_programs.PACKAGES)
        k8s_programs.build()
        with self.locked():
            self.make_nodes()
            self._make_kubeconfig()
            self._write_inventory()
            self._start_components(self.nodes)
            self._wait_until_ready(self.nodes)

    def start(self, node: Node) -> None:
        with self.locked():
            node.start()
            self._start_components([node])
            if self.nodes[0].pid is not None:
                self._wait_until_ready([node])

    def user(self, name: str, groups: Iterable[str], valid: datetime.timedelta) -> Path:
        """Makes the kubeconfig of another user."""
        made = self.authority.kubeconfig(self.server, self.context, name, groups, valid)
        path = self.directory / "kubeconfigs" / name.replace("/", "_")
        secret_file(path, as_file(made))
        return path

    def status(self) -> list[dict[str, Any]]:
        ready: dict[str, str] = {}
        problem = ""
        if self.nodes[0].pid is not None:
            try:
                for item in self.api().ask("GET", "/api/v1/nodes")["items"]:
                    for condition in item["status"].get("conditions", []):
                        if condition["type"] == "Ready":
                            ready[item["metadata"]["name"]] = condition["status"]
            except (OSError, BedError) as error:
                problem = str(error)
        rows = []
        for node in self.nodes:
            row: dict[str, Any] = {"name": node.name, "address": node.address, "power": "on" if node.pid else "off"}
            row["components"] = {name: "runs" if node.process(name) else "off" for name in node.components}
            if node.number == 1:
                row["api"] = "off" if node.pid is None else problem or "answers"
            row["ready"] = ready.get(node.name, "Unknown")
            rows.append(row)
        return rows

    def wait(
        self, what: str, seconds: float, condition: Callable[[], Any], blame: Iterable[tuple[Node, str]] = ()
    ) -> Any:
        """Waits for a condition; who is to blame where it doesn't come is quoted in the error."""
        last = ""

        def met() -> Any:
            nonlocal last
            try:
                return condition()
            except (OSError, BedError) as error:
                last = str(error)
                time.sleep(0.2)
            return None

        try:
            return wait_for(what, seconds, met)
        except BedError as error:
            parts = [str(error), *([f"last: {last}"] if last else []), *(node.log(name) for node, name in blame)]
            raise BedError("\n".join(parts)) from None

    def _start_components(self, chosen: list[Node]) -> None:
        authority = self.authority

        def start(node: Node) -> None:
            node.prepare(authority)
            if node.number == 1:
                for name in k8s_components.CONTROL_PLANE:
                    node.start_component(name)
            node.start_containers()

        # The others must learn of a node that is new.
        for node in self.nodes:
            if node not in chosen and node.pid is not None:
                node.prepare(authority)
        with ThreadPoolExecutor(len(chosen)) as pool:
            list(pool.map(start, chosen))

    def _wait_until_ready(self, chosen: list[Node]) -> None:
        first = self.nodes[0]
        api = self.api()
        servers = [(first, "etcd"), (first, "kube-apiserver")]
        self.wait("the API server", 120, lambda: api.ask("GET", "/readyz") == "ok", servers)
        if first in chosen:
            for path, manifest in k8s_components.objects(first.host).items():
                self.wait(path, 60, functools.partial(api.apply, path, manifest), servers)
            first.start_component(k8s_components.CLUSTER_NAMES)

        def all_ready() -> bool:
            registered = {item["metadata"]["name"]: item for item in api.ask("GET", "/api/v1/nodes")["items"]}
            return all(node.is_ready(registered.get(node.name)) for node in chosen)

        kubelets = [(node, name) for node in chosen for name in ("kubelet", "containerd")]
        self.wait("the nodes to be ready", 90, all_ready, kubelets)
        if first in chosen:
            label = {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}
            api.ask("PATCH", f"/api/v1/nodes/{first.name}", label, content="application/merge-patch+json")
            name = f"kubernetes.default.svc.{k8s_components.DOMAIN}"
            self.wait("names to be resolved", 30, lambda: resolves(first.address, name), [(first, "coredns")])
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            controllers = [(first, "kube-controller-manager")]
            self.wait("the default service account", 60, lambda: api.ask("GET", account), controllers)

    def _make_kubeconfig(self) -> None:
        if not self.kubeconfig.exists():
            groups = ("system:masters",)
            secret_file(self.kubeconfig, as_file(self.authority.kubeconfig(self.server, self.context, "admin", groups)))

    def _write_inventory(self) -> None:
        """This machine manages the cluster; the nodes are hosts for roles that set up a cluster's hosts."""
        python = control_python()
        managers = {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": python}}
        workers = {
            node.name: {
                "ansible_host": node.address,
                "ansible_connection": "local",
                "ansible_python_interpreter": str(node.interpreter("python", python)),
            }
            for node in self.nodes
        }
        variables = {
            "mlops_target": "kubernetes",
            "mlops_kubeconfig": str(self.kubeconfig),
            "mlops_kube_context": self.context,
            "registry_address": f"{self.network}.1:5000",
            "testbed_name": self.name,
        }
        children = {"mlops_managers": {"hosts": managers}, "mlops_workers": {"hosts": workers}}
        self.write_inventory({"mlops": {"children": children, "vars": variables}})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="testbed kubernetes", description="A Kubernetes cluster on this machine.")
    parser.add_argument(
        "--name", default="kubernetes", help="several beds can stand side by side (default: kubernetes)"
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("build", help="build the programs, where that isn't done yet, and print where they are")
    up = verbs.add_parser("up", help="make it, or what is missing of it")
    up.add_argument("--nodes", type=int, default=0, help="how many (default: 1, or as many as there are)")
    verbs.add_parser("down", help="remove it without a trace")
    verbs.add_parser("status", help="say what runs, in JSON; exit code 1 where something is off")
    verbs.add_parser("inventory", help="print the path of an inventory of the nodes, for ansible-playbook -i")
    kubeconfig = verbs.add_parser("kubeconfig", help="print the path of a kubeconfig: the administrator's, or a user's")
    kubeconfig.add_argument("--user", help="make one for this user, by client certificate")
    kubeconfig.add_argument("--groups", nargs="+", default=[], metavar="GROUP", help="the user's groups")
    kubeconfig.add_argument("--days", type=float, default=365, help="how long the certificate is valid (default: 365)")
    kubeconfig.add_argument("--expired", action="store_true", help="a certificate that ended an hour ago")
    execute = verbs.add_parser("exec", help="run a command on a node")
    execute.add_argument("node")
    execute.add_argument("command", nargs=argparse.REMAINDER)
    for verb, text in (
        ("stop", "pull a node's plug, or kill one of its components"),
        ("start", "switch a node on again, or one of its components"),
        ("restart", "kill a component, and have it started again"),
    ):
        command = verbs.add_parser(verb, help=text)
        command.add_argument("node")
        command.add_argument("component", nargs=None if verb == "restart" else "?")
    return parser.parse_args()


def main() -> int:
    options = parse()
    if options.verb == "build":
        print(k8s_programs.build())
        return 0
    bed = Bed(options.name, getattr(options, "nodes", 0))
    if options.verb == "up":
        bed.up()
        return 0
    if options.verb == "down":
        bed.down()
        return 0
    if not bed.exists:
        raise BedError(f"there is no bed {bed.name}; {bed.program} up makes it")
    if options.verb == "status":
        rows = bed.status()
        print(json.dumps(rows, indent=2))
        fine = all(row["ready"] == "True" and "off" not in row["components"].values() for row in rows)
        return 0 if fine else 1
    if options.verb == "inventory":
        print(bed.directory / "inventory")
    elif options.verb == "kubeconfig":
        valid = datetime.timedelta(hours=-1) if options.expired else options.days * DAY
        print(bed.user(options.user, options.groups, valid) if options.user else bed.kubeconfig)
    elif options.verb == "exec":
        command = options.command[1:] if options.command[:1] == ["--"] else options.command
        entered = bed.node(options.node).enter(*(command or ["bash"]))
        os.execvp(entered[0], entered)
    else:
        node = bed.node(options.node)
        if options.component:
            getattr(node, f"{options.verb}_component")(node.component(options.component))
        elif options.verb == "stop":
            node.stop()
        else:
            bed.start(node)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BedError as problem:
        print(f"testbed: {problem}", file=sys.stderr)
        sys.exit(1)
