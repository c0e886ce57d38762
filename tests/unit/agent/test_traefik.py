# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The gateway's configuration: golden files (MLOPS_GOLDEN=write makes them anew), and what holds for any input."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops_runtime.agent.traefik import Readiness, Route, Routed, configuration, rule

GOLDEN = Path(__file__).parent / "golden"

MLFLOW = Routed(
    "mlflow",
    (Route("ui", 5000, host="mlflow.example.org"),),
    ("10.0.1.7",),
    Readiness(5000, "/health", {"Host": "mlflow", "X-Probe": "1"}, 5, 3),
)
MODEL = Routed(
    "model-phishing",
    (
        Route("rest", 9000, path="/seldon/mlops/phishing", strip_path=True),
        Route("grpc-seldon", 9500, path="/seldon.protos.Seldon", headers={"seldon": "phishing"}, scheme="h2c"),
        Route("grpc-model", 9500, path="/seldon.protos.Model", headers={"seldon": "phishing"}, scheme="h2c"),
    ),
    ("10.0.1.12", "10.0.1.9", "fd00::9"),
    Readiness(9000, "/health/status"),
)
STARTING = Routed("starting", (Route("ui", 80, host="starting.example.org", path="/a/"),), ())

CASES = {
    "platform": ([MLFLOW, MODEL, STARTING], "example.org", ("gateway",), False),
    "tls": ([MLFLOW, MODEL], "example.org", (), True),
    "empty": ([], "example.org", (), False),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    services, domain, aliases, tls = CASES[name]
    found = json.dumps(configuration(services, domain, aliases, tls), indent=2, sort_keys=True) + "\n"
    golden = GOLDEN / f"{name}.json"
    if os.environ.get("MLOPS_GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(found)
    assert found == golden.read_text()


@pytest.mark.parametrize(("timeout", "told"), [(0.5, "500ms"), (5, "5000ms"), (30, "5000ms")])
def test_a_slow_check_is_waited_for_within_reason(timeout: float, told: str) -> None:
    slow = Routed("slow", (Route("ui", 80),), ("10.0.1.7",), Readiness(80, "/", timeout=timeout))
    document = configuration([slow], "example.org", (), False)
    assert document["http"]["services"]["slow_80_http"]["loadBalancer"]["healthCheck"]["timeout"] == told


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (Route("r", 1), "Host(`a`) || Host(`b`)"),
        (Route("r", 1, host="x.a"), "Host(`x.a`)"),
        (Route("r", 1, path="/p"), "(Host(`a`) || Host(`b`)) && (Path(`/p`) || PathPrefix(`/p/`))"),
        (Route("r", 1, host="x.a", path="/p/"), "Host(`x.a`) && PathPrefix(`/p/`)"),
        (
            Route("r", 1, host="x.a", headers={"b": "2", "a": "1"}),
            "Host(`x.a`) && Header(`a`, `1`) && Header(`b`, `2`)",
        ),
        (Route("r", 1, host="x.a", headers={"a": "`)"}), 'Host(`x.a`) && Header(`a`, "`)")'),
    ],
)
def test_rule(route: Route, expected: str) -> None:
    assert rule(route, ["a", "b"]) == expected


def test_without_a_domain_any_host_will_do() -> None:
    assert rule(Route("r", 1), []) == "PathPrefix(`/`)"
    assert rule(Route("r", 1, path="/p"), []) == "Path(`/p`) || PathPrefix(`/p/`)"


labels = st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True)
routes = st.builds(
    Route,
    name=labels,
    port=st.integers(1, 65535),
    host=st.none() | labels,
    path=st.sampled_from(["/", "/a", "/a/b", "/a/b/"]),
    headers=st.dictionaries(labels, labels, max_size=2),
    scheme=st.sampled_from(["http", "h2c"]),
    strip_path=st.booleans(),
)
services = st.lists(
    st.builds(
        Routed,
        workload=labels,
        routes=st.lists(routes, min_size=1, max_size=3, unique_by=lambda route: route.name).map(tuple),
        addresses=st.lists(st.ip_addresses().map(str), max_size=4, unique=True).map(tuple),
        readiness=st.none() | st.builds(Readiness, port=st.integers(1, 65535), path=st.just("/ready")),
    ),
    max_size=6,
    unique_by=lambda service: service.workload,
)


@given(services, st.randoms())
def test_the_order_of_what_was_observed_changes_nothing(observed: list[Routed], chance: random.Random) -> None:
    shuffled = [
        Routed(s.workload, s.routes, tuple(chance.sample(s.addresses, len(s.addresses))), s.readiness) for s in observed
    ]
    chance.shuffle(shuffled)
    assert configuration(shuffled, "d") == configuration(observed, "d")


@given(services)
def test_every_route_leads_to_every_address_and_to_no_other(observed: list[Routed]) -> None:
    http = configuration(observed, "d")["http"]
    assert len(http.get("routers", {})) == sum(len(service.routes) for service in observed)
    for service in observed:
        for route in service.routes:
            router = http["routers"][f"{service.workload}_{route.name}"]
            balancer = http["services"][router["service"]]["loadBalancer"]
            assert len(balancer.get("servers", [])) == len(service.addresses)
            assert all(server["url"].startswith(f"{route.scheme}://") for server in balancer.get("servers", []))
            assert all(server["url"].endswith(f":{route.port}") for server in balancer.get("servers", []))
            assert ("healthCheck" in balancer) == (service.readiness is not None)
            assert set(router["middlewares"]) <= set(http["middlewares"])


@given(services)
def test_a_longer_path_goes_before_a_shorter_one(observed: list[Routed]) -> None:
    http = configuration(observed, "d")["http"]
    ranks = [
        (len(route.path.rstrip("/")), http["routers"][f"{service.workload}_{route.name}"]["priority"])
        for service in observed
        for route in service.routes
    ]
    for length, priority in ranks:
        assert all(priority > other for shorter, other in ranks if shorter < length)
