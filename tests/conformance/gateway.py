# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Asks the gateway what it must answer: a route by host, one by path, a 404 to all else, TLS where it is on.

The routed workload answers anything below its routes with a body that contains --body.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator

from checks import equal, run
from gateway_client import Gateway, add_arguments, from_arguments

PATIENCE = 15
"""Seconds until a route is known, or forgotten: the gateway asks the agent, and the agent the cluster."""


def eventually(check: Callable[[], None]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return check()
        except (AssertionError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def routed(gateway: Gateway, options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], None]]]:
    def by_host() -> None:
        answer = gateway.request("/", subdomain=options.host)
        equal(answer.status, 200, answer.text())
        equal(options.body in answer.text(100_000), True, answer.text())

    def by_path() -> None:
        answer = gateway.request(options.path)
        equal(answer.status, 200, answer.text())

    yield "a workload's host leads to it", lambda: eventually(by_host)
    yield "so does its path at the domain", lambda: eventually(by_path)


def unknown(gateway: Gateway, options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], None]]]:
    yield "an unknown host gets a 404", lambda: equal(gateway.request("/", subdomain="nobody").status, 404)
    yield "an unknown path gets a 404", lambda: equal(gateway.request("/nothing/there").status, 404)

    def forgotten() -> None:
        equal(gateway.request("/", subdomain=options.host).status, 404)
        equal(gateway.request(options.path).status, 404)

    if options.gone:
        yield "what is gone has no route", lambda: eventually(forgotten)


def encrypted(gateway: Gateway, options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], None]]]:
    def version(host: str, context: ssl.SSLContext) -> str:
        place = (gateway.connects_to or gateway.domain, gateway.port)
        with socket.create_connection(place, 10) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
            return str(secure.version())

    def named() -> None:
        for host in (gateway.host(), gateway.host("mlflow")):
            equal(version(host, gateway.tls) in ("TLSv1.2", "TLSv1.3"), True, host)

    def old() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        try:
            version(gateway.domain, context)
        except ssl.SSLError:
            return
        raise AssertionError("TLS 1.1 is taken")

    def redirected() -> None:
        answer = gateway.request("/x?y=1", plain_port=options.http_port)
        equal(answer.status in (301, 308), True, f"HTTP {answer.status}")
        equal(answer.headers["Location"], f"{gateway.url}/x?y=1")

    yield "the certificate is for the domain and for what is below it, by the CA that clients trust", named
    yield "TLS 1.1 is refused", old
    yield "plain HTTP is redirected", redirected


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--host", required=True, help="the subdomain of a workload's route")
    parser.add_argument("--path", required=True, help="the path of another of its routes, at the domain")
    parser.add_argument("--body", default="", help="what its page contains")
    parser.add_argument("--gone", action="store_true", help="the workload was there, and is no more")
    parser.add_argument("--http-port", type=int, default=80, help="where plain HTTP is, with TLS on")
    options = parser.parse_args()
    gateway = from_arguments(options)
    checks = [*([] if options.gone else routed(gateway, options)), *unknown(gateway, options)]
    return run([*checks, *(encrypted(gateway, options) if gateway.secure and not options.gone else [])])


if __name__ == "__main__":
    sys.exit(main())
