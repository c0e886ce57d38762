# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What prediction records cost the model server, and what becomes of them while the broker is away; a real broker.

1. The same server with and without records, taking turns (A B A B ...), each warm, two workers each, one client process
   of plain sockets on loopback: requests a second and latency. Ends with 1 where the rate with records is below 0.85 of
   that without, or the 99th percentile more than 20 % above.
2. 200,000 predictions while the broker is stopped and started again: none may fail, the 99.9th percentile may not reach
   what a client would call waiting, and what was logged and what was lost must be what was sent; the topic must hold
   exactly what was logged. The outage lasts 40 seconds, with `--full` five minutes.

    python tests/benchmark/serving_records.py [--seconds 4] [--turns 3] [--connections 16] [--full] [--only cost|outage]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration" / "serving"), str(HERE.parent / "servers")]

from kafka import Kafka  # noqa: E402
from servers import OURS, Server, serving  # noqa: E402
from serving import MODELS, ROW, favour, measure, percentile  # noqa: E402
from stream_reader import length, make_topics  # noqa: E402

WORKERS = 2
KEPT, SLOWER = 0.85, 1.2
PREDICTIONS, WAIT_MS = 200_000, 1000.0


def hold_back(kafka: Kafka) -> None:
    """The broker, elsewhere in a real site, gets what the servers leave of this machine."""
    assert kafka.process is not None
    with contextlib.suppress(OSError):
        Path(f"/proc/{kafka.process.pid}/autogroup").write_text("19")


def settings(kafka: Kafka, topic: str) -> dict[str, str]:
    about = {"MLOPS_MODEL": "m", "MLOPS_MODEL_VERSION": "1", "MLOPS_MODEL_DIR": "/nowhere"}
    return {"MLOPS_RECORDS": topic, "MLOPS_BROKER": kafka.address, **about}


def used(server: Server) -> float:
    """Seconds of processor time of the server and its workers, those of librdkafka's threads included."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12]) if int(fields[3]) == server.process.pid else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def cost(kafka: Kafka, name: str, rows: list[list[float]], options: argparse.Namespace) -> bool:
    """Prints a row and says whether both bars are met."""
    body = json.dumps({"data": {"ndarray": rows}}).encode()
    rates: list[list[float]] = [[], []]
    latencies: list[list[float]] = [[], []]
    times_used: list[float] = [0.0, 0.0]
    failed = 0
    topic = "predictions." + re.sub(r"\W+", "-", name)
    make_topics(kafka.address, topic)
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(
                serving(OURS, name.split(",")[0], directory=HERE / "serving_classes", workers=WORKERS, env=env)
            )
            for env in ({}, settings(kafka, topic))
        ]
        for server in servers:
            favour(server.process.pid)
            measure(server, body, options.connections, 1.0)
        for _ in range(options.turns):
            for place, server in enumerate(servers):
                before = used(server)
                rate, times, errors = measure(server, body, options.connections, options.seconds)
                times_used[place] += used(server) - before
                rates[place].append(rate)
                latencies[place] += times
                failed += errors
        lost = counts(servers[1])["lost"]
    without, with_records = map(statistics.median, rates)
    p99 = [percentile(times, 0.99) for times in latencies]
    each = [used / len(times) * 1e6 for used, times in zip(times_used, latencies, strict=True)]
    ratio, slower = with_records / without, p99[1] / p99[0]
    print(
        f"{name:20} {without:9.0f} {with_records:9.0f} {ratio:7.2f}   {p99[0]:8.2f} {p99[1]:8.2f} {slower:7.2f}"
        f"   {each[0]:8.0f} {each[1]:8.0f}   {failed} failed, {lost} lost",
        flush=True,
    )
    return ratio >= KEPT and slower <= SLOWER and failed == 0


def counts(server: Server) -> dict[str, int]:
    pattern = r'mlops_prediction_records_total{[^}]*outcome="(\w+)"} (\S+)'
    return {outcome: int(float(value)) for outcome, value in re.findall(pattern, server.metrics())}


def predicted(server: Server) -> int:
    """Predictions that the server answered, those included whose client had gone meanwhile."""
    found = re.findall(r"^seldon_api_executor_server_requests_seconds_count{([^}]*)} (\S+)", server.metrics(), re.M)
    return sum(int(float(value)) for labels, value in found if 'service="predictions"' in labels)


def outage(kafka: Kafka, seconds: float, connections: int) -> bool:
    """Prints what happened and says whether the bar is met."""
    topic = "predictions.outage"
    make_topics(kafka.address, topic)
    body = json.dumps({"data": {"ndarray": [ROW]}}).encode()
    with serving(
        OURS, "Nothing", directory=HERE / "serving_classes", workers=WORKERS, env=settings(kafka, topic)
    ) as server:
        answered, latencies, failed = 0, [], 0

        def ask(enough: Any) -> None:
            nonlocal answered, failed
            while not enough():
                _, times, errors = measure(server, body, connections, 2.0)
                answered += len(times)
                failed += errors
                latencies.extend(times)

        ask(lambda: answered >= PREDICTIONS / 4)
        stopper = threading.Thread(target=kafka.stop)
        stopper.start()
        away = time.monotonic() + seconds
        ask(lambda: time.monotonic() >= away)
        stopper.join()
        during = counts(server)
        starter = threading.Thread(target=kafka.start)
        starter.start()
        ask(lambda: answered >= PREDICTIONS and not starter.is_alive())
        starter.join()
        deadline = time.monotonic() + 120
        while sum((told := counts(server)).values()) < predicted(server) and time.monotonic() < deadline:
            time.sleep(0.2)
        sent = predicted(server)
    held = length(kafka.address, topic)
    worst, p999 = max(latencies) * 1000, percentile(latencies, 0.999)
    print(
        f"{sent} predictions, broker away for {seconds:g} s: {failed} failed; p99.9 {p999:.1f} ms, "
        f"slowest {worst:.0f} ms; logged {told['logged']}, lost {told['lost']} "
        f"(when it came back: {during['lost']}); in the topic {held}",
        flush=True,
    )
    enough = sent >= answered >= PREDICTIONS
    return enough and failed == 0 and worst < WAIT_MS and sum(told.values()) == sent and held == told["logged"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--full", action="store_true", help="the broker is away for five minutes")
    parser.add_argument("--only", choices=["cost", "outage"])
    options = parser.parse_args()
    met = True
    with tempfile.TemporaryDirectory() as scratch, Kafka.started(Path(scratch, "kafka")) as kafka:
        hold_back(kafka)
        if options.only != "outage":
            print(f"{'':20} {'requests/s, with, ratio':^27}   {'p99 ms, with, ratio':^25}   {'CPU us, with':^17}")
            results = [cost(kafka, name, rows, options) for name, rows in MODELS.items()]
            print(
                f"BAR prediction records: >= {KEPT} of the rate without, p99 <= {SLOWER} times: "
                f"{'met' if all(results) else 'MISSED'}",
                flush=True,
            )
            met = all(results)
        if options.only != "cost":
            whole = outage(kafka, 300 if options.full else 40, options.connections)
            print(
                f"BAR {PREDICTIONS} predictions, broker away: none fails or waits; logged + lost = sent: "
                f"{'met' if whole else 'MISSED'}",
                flush=True,
            )
            met = met and whole
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
