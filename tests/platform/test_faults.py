# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What breaks, and what goes on: registry and object store down, a replica killed, the engine killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from installed import MODEL, Platform, wait_for
from swarm_site import SwarmSite

pytestmark = pytest.mark.docker


def healthy(swarm: SwarmSite) -> bool:
    """Every replicated service has as many running tasks as it declares."""
    for found in swarm.services():
        mode = found.attrs["Spec"]["Mode"]
        if "Replicated" not in mode:
            continue
        running = [t for t in found.tasks({"desired-state": "running"}) if t["Status"]["State"] == "running"]
        if len(running) != mode["Replicated"]["Replicas"]:
            return False
    return True


@contextlib.contextmanager
def stopped(platform: Platform, swarm: SwarmSite, *workloads: str) -> Iterator[None]:
    """Takes services down by hand, as an operator would; puts them back by running the playbook again."""
    for workload in workloads:
        swarm.service(workload).scale(0)
    for workload in workloads:
        wait_for(
            lambda w=workload: not [t for t in swarm.service(w).tasks() if t["Status"]["State"] == "running"],
            seconds=90,
            what=f"{workload} stopped",
        )
    try:
        yield
    finally:
        done = platform.playbook()
        assert done.code == 0, done.end
    for workload in workloads:
        assert swarm.service(workload).attrs["Spec"]["Mode"]["Replicated"]["Replicas"] > 0


def test_a_replica_starts_from_the_cache_of_its_node(platform: Platform, swarm: SwarmSite) -> None:
    expected = platform.predict()
    model = swarm.service(f"model-{MODEL}")
    with stopped(platform, swarm, "mlflow", "seaweedfs"):
        containers = swarm.manager.containers.list(filters={"label": f"com.docker.swarm.service.id={model.id}"})
        killed = {container.id for container in containers}
        for container in containers:
            container.kill()
        begun = time.monotonic()

        def answers_again() -> bool:
            now = swarm.manager.containers.list(filters={"label": f"com.docker.swarm.service.id={model.id}"})
            return bool({c.id for c in now} - killed) and platform.predict() == expected

        wait_for(answers_again, seconds=180, what="a new replica answers while the registry is away")
        seconds = time.monotonic() - begun
        print(f"BAR registry and object store down, a replica killed: answers again after {seconds:.0f} s")
    assert platform.predict() == expected


def engine() -> int:
    """Process id of the engine behind this machine's own socket."""
    for pid_file in (Path("/run/docker.pid"), Path("/var/run/docker.pid")):
        with contextlib.suppress(OSError, ValueError):
            process = int(pid_file.read_text())
            if Path(f"/proc/{process}/comm").read_text().strip() == "dockerd":
                return process
    raise AssertionError("no dockerd runs behind this machine's own socket")


def test_the_engine_killed_and_started_again(platform: Platform, swarm: SwarmSite) -> None:
    if platform.facts["bed"]:
        pytest.skip("a bed's engines are killed in tests/integration/cluster")
    expected = platform.predict()
    process = engine()
    command = Path(f"/proc/{process}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    supervised = Path("/proc/1/comm").read_text().strip() == "systemd"
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{process}").exists(), seconds=30, what="the engine is gone")
    begun = time.monotonic()
    if not supervised:
        with open("/var/log/dockerd.log", "ab") as log:
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/")
    wait_for(swarm.manager.ping, seconds=120, what="the engine answers")
    wait_for(lambda: healthy(swarm), seconds=300, what="all services are healthy by themselves")

    def answers() -> bool:
        with contextlib.suppress(OSError, AssertionError):
            return platform.predict() == expected
        return False

    wait_for(answers, seconds=180, what="the model answers as before")
    print(f"BAR dockerd killed and started again: all healthy after {time.monotonic() - begun:.0f} s")
    done = platform.playbook(name="health")
    assert done.code == 0, done.end
    done = platform.playbook()
    assert (done.code, done.changed) == (0, {"0"}), done.end
