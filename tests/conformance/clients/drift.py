# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs inside the cluster: asks a model about rows, and reads what the drift detector makes of them.

TRAFFIC=healthy: as many rows are scored as were asked for, there is no alarm, and by their labels the model does well.
TRAFFIC=drifted: as many, and the model is found drifting. Rows are those of the example's traffic.py, which lies beside
this file, with what it takes along.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from asking import drawn, send
from platform_client import Gateway, Model
from traffic import EXAMPLE

MODEL, DETECTOR, PORT = os.environ["MODEL"], "drift-detector", 9000
DATA = Path(__file__).with_name("test.csv")
ROWS = {"healthy": 250, "drifted": 60}
PATIENCE = 120
"""Seconds for a model that was just declared, and for rows on their way."""
SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Seen:
    """What all replicas together say of the model."""

    scored: float
    rejected: float
    events: float
    drifting: float
    lag: float
    labelled: float
    accuracy: float


def look() -> Seen:
    values: dict[str, float] = {}
    addresses = {found[4][0] for found in socket.getaddrinfo(DETECTOR, PORT, type=socket.SOCK_STREAM)}
    for address in sorted(addresses):
        place = f"[{address}]" if ":" in address else address
        with urllib.request.urlopen(f"http://{place}:{PORT}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        for name, inside, value in SAMPLE.findall(text):
            labels = dict(LABEL.findall(inside))
            if labels.get("model") == MODEL:
                key = f"{name} {labels.get('outcome') or labels.get('metric', '')}".strip()
                values[key] = values.get(key, 0.0) + float(value)
    return Seen(
        scored=values.get("mlops_drift_rows_total scored", 0.0),
        rejected=values.get("mlops_drift_rows_total rejected", 0.0)
        + values.get("mlops_drift_rows_total unwatched", 0.0),
        events=values.get("mlops_drift_events_total", 0.0),
        drifting=values.get("mlops_drift_detected", 0.0),
        lag=values.get("mlops_drift_lag_messages", 0.0),
        labelled=values.get("mlops_model_labels_total joined", 0.0),
        accuracy=values.get("mlops_model_performance accuracy", 0.0),
    )


def wait(what: str, holds: Callable[[Seen], bool]) -> Seen:
    """What is seen once it holds; a detector that doesn't answer yet is asked again."""
    deadline = time.monotonic() + PATIENCE
    seen: Seen | str = ""
    while True:
        try:
            seen = look()
        except OSError as error:
            seen = str(error)
        if isinstance(seen, Seen) and holds(seen):
            return seen
        if time.monotonic() > deadline:
            raise SystemExit(f"FAILED  after {PATIENCE} s it doesn't hold that {what}: {seen}")
        time.sleep(0.2)


def settled() -> Seen:
    """All rows that others have asked for are scored: a row of our own is the last, and nothing comes after it."""
    known = wait("the detector answers", lambda seen: True).scored
    asked = send(model, drawn(EXAMPLE, DATA, 1, drifted=False, seed=1), labels=False).total()
    found = wait("the model is watched", lambda seen: seen.scored >= known + asked and seen.lag == 0)
    while True:
        time.sleep(2)
        again = wait("the detector answers", lambda seen: True)
        if again == found:
            return again
        found = again


def equal(what: str, found: float, wanted: float) -> None:
    if found != wanted:
        raise SystemExit(f"FAILED  {what}: {found:g}, not {wanted:g}")
    print(f"ok      {what}: {found:g}")


traffic = os.environ["TRAFFIC"]
rows = ROWS[traffic]
model = Model(Gateway(f"http://model-{MODEL}:9000"), "", MODEL)
before = settled()
pages = drawn(EXAMPLE, DATA, rows, drifted=traffic == "drifted", seed=0)
asked = send(model, pages, labels=traffic == "healthy").total()
after = wait(f"{rows} rows more are scored", lambda seen: seen.scored >= before.scored + asked and seen.lag == 0)
equal("rows scored", after.scored - before.scored, asked)
equal("rows rejected", after.rejected - before.rejected, 0)
if traffic == "healthy":
    after = wait(f"{rows} labels are joined", lambda seen: seen.labelled >= before.labelled + asked)
    equal("labels joined", after.labelled - before.labelled, asked)
    equal("alarms", after.events - before.events, 0)
    if not after.accuracy > 0.8:
        raise SystemExit(f"FAILED  the accuracy by these labels is {after.accuracy:g}")
    print(f"ok      accuracy {after.accuracy:g}")
elif not after.drifting:
    raise SystemExit(f"FAILED  {asked} drifted rows raised no alarm: {after}")
else:
    print(f"ok      drifting by {after.drifting:g} statistics")
