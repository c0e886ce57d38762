# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A workload's probes as the kubelet's: whole seconds, and failures that don't count before the start is over."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ..model import Probe, Workload

START_INTERVAL = 5  # seconds; a start that nobody paces is asked about at least this often
LONGEST = 2**31 - 1  # the API's numbers have 32 bits


def probes(workload: Workload) -> dict[str, Any]:
    """startupProbe, livenessProbe and readinessProbe, as far as the workload has them."""
    liveness = workload.probes.liveness
    readiness = workload.probes.readiness or liveness
    found: dict[str, Any] = {}
    startup = _startup(workload)
    if startup is not None:
        found["startupProbe"] = {**_paced(startup, workload), "failureThreshold": _start_failures(startup)}
    if liveness is not None:
        found["livenessProbe"] = {**_paced(liveness, workload), "failureThreshold": _failures(liveness)}
    if readiness is not None:
        found["readinessProbe"] = {**_paced(readiness, workload), "failureThreshold": _failures(readiness)}
    return found


def start_budget(workload: Workload) -> float:
    """The longest time in seconds that a new container may take until it is healthy or given up."""
    startup, liveness = _startup(workload), workload.probes.liveness
    if startup is not None:
        return _start_failures(startup) * _period(startup) + whole(startup.timeout)
    if liveness is not None:
        return _failures(liveness) * _period(liveness) + whole(liveness.timeout)
    return 0.0


def whole(seconds: float) -> int:
    """At least one second, and never less than asked for."""
    return min(max(1, math.ceil(seconds)), LONGEST)


def _startup(workload: Workload) -> Probe | None:
    """As declared, with liveness' check where it has none; or what makes liveness' start_period hold: failures during
    it don't count."""
    startup, liveness = workload.probes.startup, workload.probes.liveness
    if startup is not None and liveness is not None:
        if startup.has_check:
            return startup
        return replace(startup, http=liveness.http, tcp=liveness.tcp, command=liveness.command)
    if liveness is None or liveness.start_period <= 0:
        return None
    interval = min(_period(liveness), START_INTERVAL)
    return replace(liveness, interval=interval, retries=math.ceil(liveness.retries * _period(liveness) / interval))


def _period(probe: Probe) -> int:
    return whole(probe.interval)


def _failures(probe: Probe) -> int:
    """As long as it takes now: an interval below a second is rounded up, so fewer of them make the same time."""
    return min(max(1, math.ceil(round(probe.retries * probe.interval / _period(probe), 6))), LONGEST)


def _start_failures(probe: Probe) -> int:
    return min(math.ceil(probe.start_period / _period(probe)) + probe.retries, LONGEST)


def _paced(probe: Probe, workload: Workload) -> dict[str, Any]:
    return {**_check(probe, workload), "periodSeconds": _period(probe), "timeoutSeconds": whole(probe.timeout)}


def _check(probe: Probe, workload: Workload) -> dict[str, Any]:
    if probe.http is not None:
        ask: dict[str, Any] = {
            "path": probe.http.path,
            "port": workload.port_number(probe.http.port),
            "scheme": "HTTP",
        }
        if probe.http.headers:
            headers = sorted(probe.http.headers.items())
            ask["httpHeaders"] = [{"name": name, "value": value} for name, value in headers]
        return {"httpGet": ask}
    if probe.tcp is not None:
        return {"tcpSocket": {"port": workload.port_number(probe.tcp.port)}}
    return {"exec": {"command": list(probe.command)}}
