# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The model server against Seldon Core 1.17.1's wrapper: requests a second and latency, in one run on this machine.

The same classes in the same environment, two workers each, requests by REST, loopback only; connections stay open where
the server lets them (the wrapper does with `--oracle-threads 2` and more). The two take turns (A B A B ...), each warm,
with one client process of plain sockets. Prints a table, and a BAR line; ends with 1 where a ratio is below 2 or the
99th percentile is worse.

    python tests/benchmark/serving.py [--seconds 4] [--turns 3] [--connections 16]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import select
import socket
import statistics
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration" / "serving"))

from servers import ORACLE, OURS, OURS_BESIDE_SELDON, Server, python311, serving  # noqa: E402

WORKERS = 2
ROW = [14.1, 19.3, 92.0, 655.0, 0.096, 0.104, 0.089, 0.049, 0.181, 0.063] * 3
MODELS = {"Nothing": [ROW[:8]], "Logistic": [ROW], "Logistic, 64 rows": [ROW] * 64}
FACTOR = 2.0


def load(port: int, body: bytes, connections: int, seconds: float, results: Any) -> None:
    """Ask as fast as the answers come, one request at a time a connection; puts (latencies in seconds, errors)."""
    request = (
        b"POST /api/v1.0/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    ) + body
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    begun: dict[int, float] = {}
    held: dict[int, bytes] = {}
    latencies: list[float] = []
    errors = 0

    def connect() -> None:
        connection = socket.create_connection(("127.0.0.1", port), 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = connection.fileno()
        sockets[number], held[number] = connection, b""
        poll.register(number, select.EPOLLIN)
        begun[number] = time.perf_counter()
        connection.sendall(request)

    for _ in range(connections):
        connect()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for number, _ in poll.poll(0.5):
            try:
                data = sockets[number].recv(1 << 16)
            except ConnectionError:
                data = b""
            if not data:
                errors += 1
                poll.unregister(number)
                sockets.pop(number).close()
                connect()
                continue
            answer = held[number] + data
            head, separator, rest = answer.partition(b"\r\n\r\n")
            if not separator:
                held[number] = answer
                continue
            lower = head.lower()
            start = lower.index(b"content-length:") + 15
            length = int(lower[start:].split(b"\r\n", 1)[0])
            if len(rest) < length:
                held[number] = answer
                continue
            now = time.perf_counter()
            latencies.append(now - begun[number])
            errors += not head.startswith(b"HTTP/1.1 200")
            if b"connection: close" in lower:
                # The wrapper's workers, with one thread each as by default, close after each answer.
                poll.unregister(number)
                sockets.pop(number).close()
                connect()
                continue
            held[number], begun[number] = b"", now
            sockets[number].sendall(request)
    results.put((latencies, errors))


def measure(server: Server, body: bytes, connections: int, seconds: float) -> tuple[float, list[float], int]:
    """Requests a second, latencies, errors."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    client = context.Process(target=load, args=(server.http_port, body, connections, seconds, results))
    client.start()
    latencies, errors = results.get(timeout=seconds + 30)
    client.join()
    return len(latencies) / seconds, latencies, errors


def favour(process: int) -> None:
    """Let what else runs on this machine count less, for servers and client alike. Needs root; nothing else changes."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process, -15)
    with contextlib.suppress(OSError):
        Path(f"/proc/{process}/autogroup").write_text("-15")  # sessions share the processor before processes do


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1000


def compare(name: str, rows: list[list[float]], options: argparse.Namespace) -> tuple[float, float, float, int]:
    """Ratio of requests a second (median of the turns), both 99th percentiles in ms, errors. Prints a row."""
    model_class = name.split(",")[0]
    body = json.dumps({"data": {"ndarray": rows}}).encode()
    kinds = [OURS if options.own_environment else OURS_BESIDE_SELDON, ORACLE]
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    latencies: dict[str, list[float]] = {kind: [] for kind in kinds}
    failed = 0
    with contextlib.ExitStack() as stack:
        threads = {ORACLE: {"GUNICORN_THREADS": str(options.oracle_threads)}}
        servers = [
            stack.enter_context(
                serving(kind, model_class, directory=HERE / "serving_classes", workers=WORKERS, env=threads.get(kind))
            )
            for kind in kinds
        ]
        for server in servers:
            favour(server.process.pid)
            measure(server, body, options.connections, 1.0)
        for _ in range(options.turns):
            for server in servers:
                rate, times, errors = measure(server, body, options.connections, options.seconds)
                rates[server.kind].append(rate)
                latencies[server.kind] += times
                failed += errors
    ours, oracle = (statistics.median(rates[kind]) for kind in kinds)
    p99 = [percentile(latencies[kind], 0.99) for kind in kinds]
    p50 = [percentile(latencies[kind], 0.5) for kind in kinds]
    print(
        f"{name:20} {ours:9.0f} {oracle:9.0f} {ours / oracle:7.2f}  "
        f"{p50[0]:8.2f} {p50[1]:8.2f}  {p99[0]:8.2f} {p99[1]:8.2f}",
        flush=True,
    )
    return ours / oracle, p99[0], p99[1], failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--oracle-threads", type=int, default=1, help="GUNICORN_THREADS of the wrapper")
    parser.add_argument("--own-environment", action="store_true", help="ours with current numpy and scikit-learn")
    parser.add_argument("--model", action="append", choices=list(MODELS), help="only these")
    options = parser.parse_args()
    if python311() is None:
        print("SKIP seldon-core 1.17.1 needs Python 3.11, which is not here")
        return 0
    favour(os.getpid())
    print(
        f"{WORKERS} workers each, {options.connections} connections, {os.cpu_count()} cores, "
        f"median of {options.turns} turns"
    )
    print(f"{'':20} {'requests/s':>19}          {'p50 ms':>17}  {'p99 ms':>17}")
    print(f"{'':20} {'ours':>9} {'seldon':>9} {'ratio':>7}  {'ours':>8} {'seldon':>8}  {'ours':>8} {'seldon':>8}")
    good = True
    for name in options.model or MODELS:
        ratio, ours, oracle, errors = compare(name, MODELS[name], options)
        met = ratio >= FACTOR and ours <= oracle and errors == 0
        good = good and met
        print(
            f"BAR {'met' if met else 'MISSED'}: model server, {name}: {ratio:.1f} times the requests/s of "
            f"seldon-core 1.17.1 (at least {FACTOR:g}), p99 {ours:.1f} ms against {oracle:.1f} ms, {errors} errors"
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
