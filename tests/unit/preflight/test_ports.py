# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import socket
from typing import Any

from ansible_collections.mlops.onprem.plugins.module_utils._host.ports import WantedPort, is_ours, listeners, taken
from fake_host import FakeHost

HTTP = WantedPort(80, "tcp", "gateway_http_port")
HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(address: str, state: str, inode: int) -> str:
    return f"   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0\n"


def container(name: str, port: int, service: str = "", protocol: str = "tcp") -> dict[str, Any]:
    labels = {"com.docker.swarm.service.name": service} if service else {}
    return {"Names": [f"/{name}"], "Labels": labels, "Ports": [{"PublicPort": port, "Type": protocol}]}


def listen(host: FakeHost, port: int, program: str, table: str = "tcp", state: str = "0A") -> None:
    width = 32 if table.endswith("6") else 8
    host.write(f"proc/net/{table}", HEADER + row(f"{'0' * width}:{port:04X}", state, 4711))
    host.write("proc/99/comm", f"{program}\n")
    (host.root / "proc/99/fd").mkdir(exist_ok=True)
    (host.root / "proc/99/fd/3").symlink_to("socket:[4711]")


def test_a_free_port(host: FakeHost) -> None:
    listen(host, 8080, "nginx")
    assert taken([HTTP], [], "mlops", host.root) == []


def test_a_port_that_another_program_has(host: FakeHost) -> None:
    listen(host, 80, "nginx")
    assert taken([HTTP], [], "mlops", host.root) == [(HTTP, "nginx (process 99)")]


def test_a_port_taken_on_ipv6_is_taken(host: FakeHost) -> None:
    listen(host, 80, "apache2", table="tcp6")
    assert taken([HTTP], [], "mlops", host.root) == [(HTTP, "apache2 (process 99)")]


def test_a_connection_from_that_port_is_no_listener(host: FakeHost) -> None:
    listen(host, 80, "curl", state="01")
    assert taken([HTTP], [], "mlops", host.root) == []


def test_protocols_are_told_apart(host: FakeHost) -> None:
    listen(host, 80, "quic", table="udp", state="07")
    assert taken([HTTP], [], "mlops", host.root) == []
    udp = WantedPort(80, "udp", "x")
    assert taken([udp], [], "mlops", host.root) == [(udp, "quic (process 99)")]


def test_what_the_platform_has_already_is_no_problem(host: FakeHost) -> None:
    listen(host, 80, "docker-proxy")
    ours = container("mlops_gateway.1.abc", 80, "mlops_gateway")
    assert taken([HTTP], [ours], "mlops", host.root) == []
    assert taken([WantedPort(5000, "tcp", "r")], [container("mlops-registry", 5000)], "mlops", host.root) == []


def test_another_platform_is_in_the_way(host: FakeHost) -> None:
    listen(host, 80, "docker-proxy")
    other = container("mlopsother_gateway.1.abc", 80, "mlopsother_gateway")
    assert taken([HTTP], [other], "mlops", host.root) == [(HTTP, "the container mlopsother_gateway.1.abc")]
    assert not is_ours(other, "mlops")


def test_a_container_without_a_proxy_process_is_in_the_way_too(host: FakeHost) -> None:
    assert taken([HTTP], [container("web", 80)], "mlops", host.root) == [(HTTP, "the container web")]


def test_a_socket_whose_process_is_not_seen(host: FakeHost) -> None:
    host.write("proc/net/tcp", HEADER + row("00000000:0050", "0A", 1))
    assert taken([HTTP], [], "mlops", host.root)[0][1].startswith("a process of the kernel")


def test_on_this_machine() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        wanted = WantedPort(listener.getsockname()[1], "tcp", "x")
        [(found, holder)] = taken([wanted], [], "mlops")
    assert found == wanted
    assert f"(process {os.getpid()})" in holder


def test_one_address_of_the_host(host: FakeHost) -> None:
    host.write("proc/net/tcp", HEADER + row("0100007F:1388", "0A", 4711))
    assert listeners(host.root)[0].address == "127.0.0.1"

    def rivals(address: str) -> bool:
        return taken([WantedPort(5000, "tcp", "registry_address", address)], [], "mlops", host.root) != []

    assert rivals("127.0.0.1")
    assert rivals("")
    assert rivals("0.0.0.0")
    assert not rivals("192.0.2.11")
    host.write("proc/net/tcp", HEADER + row("00000000:1388", "0A", 4711))
    assert rivals("192.0.2.11")
    host.write("proc/net/tcp", HEADER)
    host.write("proc/net/tcp6", HEADER + row("B80D0120000000000000000001000000:1388", "0A", 4711))
    assert listeners(host.root)[0].address == "2001:db8::1"
    assert rivals("2001:db8::1")
    assert not rivals("192.0.2.11")


def test_a_container_at_another_address(host: FakeHost) -> None:
    other = container("shop", 5000)
    other["Ports"][0]["IP"] = "127.0.0.1"
    assert taken([WantedPort(5000, "tcp", "registry_address", "192.0.2.11")], [other], "mlops", host.root) == []
    assert taken([WantedPort(5000, "tcp", "registry_address")], [other], "mlops", host.root) != []
