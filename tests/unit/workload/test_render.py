# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""From a workload to a service's spec: golden files (MLOPS_GOLDEN=write makes them anew), and what holds for any."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._workload import Workload
from ansible_collections.mlops.onprem.plugins.module_utils._workload.rendering import secret_hash
from ansible_collections.mlops.onprem.plugins.module_utils._workload.swarm.images import pull_service
from ansible_collections.mlops.onprem.plugins.module_utils._workload.swarm.live import comparable, differences
from ansible_collections.mlops.onprem.plugins.module_utils._workload.swarm.ready import ask_service
from ansible_collections.mlops.onprem.plugins.module_utils._workload.swarm.render import (
    Rendered,
    Site,
    Traits,
    render,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from .cases import CASES, SERVER
from .test_model import declarations

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "workload"
SITE = Site(
    namespace="mlops",
    set_name="platform",
    domain="example.org",
    images={"one": "registry.example.org/one@sha256:" + "1" * 64, "two": "sha256:" + "2" * 64},
    secret_values={"secret": "a value of a secret", "password": "another value"},
    zone_of={"store": "data", "broker": "stream"},
    salt="cluster",
    traits=Traits(socket_group=998),
)


def rendered(data: dict[str, Any], site: Site = SITE) -> Rendered:
    problems: list[str] = []
    found = render(Workload.from_dict(data), site, problems)
    assert problems == []
    return found


def refused(data: dict[str, Any], site: Site = SITE) -> list[str]:
    problems: list[str] = []
    render(Workload.from_dict(data), site, problems)
    return problems


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    found = rendered(CASES[case])
    specs = {item.name: item.spec for item in [found, *found.jobs]}
    file = GOLDEN / f"{case}.json"
    if os.environ.get("MLOPS_GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(specs, indent=2, sort_keys=True) + "\n")
    assert specs == json.loads(file.read_text())


@given(declarations())
@settings(max_examples=100)
def test_rendering_is_pure_and_compares_equal_to_itself(data: dict[str, Any]) -> None:
    first, second = rendered(data), rendered(data)
    assert first == second
    assert comparable(first.spec) == comparable(json.loads(json.dumps(second.spec)))
    assert first.spec["TaskTemplate"]["ContainerSpec"]["User"] != "0"
    assert first.spec["TaskTemplate"]["ContainerSpec"]["CapabilityDrop"] == ["ALL"]


VARIATIONS: dict[str, Any] = {
    "image": "two",
    "command": ["other"],
    "args": ["other"],
    "env": {"OTHER": "1"},
    "configs": [{"path": "/other", "content": "x"}],
    "secrets": [{"name": "secret"}],
    "ports": [{"name": "http", "port": 8081}],
    "routes": [{"name": "other", "port": "http"}],
    "volumes": [{"name": "other", "path": "/other"}],
    "scratch": [{"path": "/other"}],
    "probes": {"liveness": {"tcp": {"port": "http"}}},
    "replicas": 2,
    "resources": {"limits": {"cpu": 3}},
    "placement": {"manager": True},
    "user": "5:5",
    "read_only": False,
    "capabilities": ["KILL"],
    "zone": "stream",
    "connects": ["store"],
    "egress": [{"host": "db.example.com", "port": 5432}],
    "metrics": {"port": "http"},
    "update": {"batch": 3},
    "stop_grace": 3,
    "cluster_access": True,
    "labels": {"other": "x"},
}


@pytest.mark.parametrize("field", VARIATIONS)
def test_no_field_is_dropped(field: str) -> None:
    """Changing any field changes what is sent. (Name, kind and jobs make services of their own.)"""
    before, after = rendered(SERVER), rendered({**SERVER, field: VARIATIONS[field]})
    if field == "ports":  # a port that nobody publishes shows where it is asked
        assert before.spec["TaskTemplate"] != after.spec["TaskTemplate"]
        return
    assert differences(comparable(before.spec), comparable(after.spec))


def test_named_resources_are_reserved_beside_gpus() -> None:
    found = rendered({**SERVER, "resources": {"requests": {"gpu": 2}, "generic": {"fpga": 1}}})
    reserved = found.spec["TaskTemplate"]["Resources"]["Reservations"]["GenericResources"]
    assert [(item["DiscreteResourceSpec"]["Kind"], item["DiscreteResourceSpec"]["Value"]) for item in reserved] == [
        ("gpu", 2),
        ("fpga", 1),
    ]


def test_every_field_is_looked_at() -> None:
    fields = {field.name for field in dataclasses.fields(Workload)}
    assert fields == set(VARIATIONS) | {"name", "kind", "jobs"}


def test_what_swarm_cannot_do_is_refused() -> None:
    big = [{"path": "/a", "content": "x" * (1000 * 1024 + 1)}]
    assert "least.configs[0].content: /a has 1024001 bytes" in refused({**CASES["least"], "configs": big})[0]
    site = dataclasses.replace(SITE, secret_values={"secret": "x" * (500 * 1024 + 1)})
    found = refused({**CASES["least"], "secrets": [{"name": "secret"}, {"name": "none", "path": "/b"}]}, site)
    assert "the value of secret has 512001 bytes" in found[0] and "no value for the secret 'none'" in found[1]
    startup = {"startup": {"tcp": {"port": "http"}}, **SERVER["probes"]}
    assert "one check for startup and liveness" in refused({**SERVER, "probes": startup})[0]
    assert "there is no image 'three' (known: one, two)" in refused({**SERVER, "image": "three"})[0]
    long = refused({**CASES["least"], "name": "x" * 40}, dataclasses.replace(SITE, namespace="n" * 23))
    assert "has 64 characters, 63 fit" in long[0]
    alone = dataclasses.replace(SITE, traits=Traits(socket=None))
    assert "agent.cluster_access" in refused(CASES["agent"], alone)[0]
    many = dataclasses.replace(SITE, traits=Traits(nodes=3))
    probes = {**SERVER["probes"], "readiness": {"command": ["ask"]}}
    assert "readiness.command: can't be run on another node" in refused({**SERVER, "probes": probes}, many)[0]
    assert refused({**SERVER, "probes": probes}) == []


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("env", {"A": "a value of a secret"}, "env.A"),
        ("args", ["--password=another value"], "args[0]"),
        ("command", ["a value of a secret"], "command[0]"),
        ("labels", {"a": "a value of a secret"}, "labels.a"),
        ("configs", [{"path": "/a", "content": "p = another value\n"}], "configs[0].content"),
    ],
)
def test_a_secret_outside_its_file_is_refused(field: str, value: Any, place: str) -> None:
    found = refused({**SERVER, field: value})
    assert len(found) == 1 and found[0].startswith(f"web.{place}: holds the value of the secret")
    assert "another value" not in found[0] and "a value of" not in found[0]


def test_no_secret_in_what_is_sent() -> None:
    found = rendered({**SERVER, "secrets": [{"name": "secret"}, {"name": "password"}]})
    text = json.dumps(found.spec)
    assert all(value not in text for value in SITE.secret_values.values())
    assert secret_hash("a", "x") != secret_hash("a", "y") != secret_hash("b", "y")


def test_an_old_engine_asks_twice_as_often_as_liveness_wants() -> None:
    """It has one interval: failures still count as long as liveness says."""
    probes = {"liveness": {"tcp": {"port": "http"}, "interval": 10, "retries": 3}, "startup": {"interval": 2}}
    old = rendered({**SERVER, "probes": probes}).spec["TaskTemplate"]["ContainerSpec"]["Healthcheck"]
    assert (old["Interval"], old["Retries"]) == (5 * 10**9, 6) and "StartInterval" not in old
    site = dataclasses.replace(SITE, traits=Traits(api=(1, 44)))
    new = rendered({**SERVER, "probes": probes}, site).spec["TaskTemplate"]["ContainerSpec"]["Healthcheck"]
    assert (new["Interval"], new["Retries"], new["StartInterval"]) == (10 * 10**9, 3, 2 * 10**9)


def test_no_new_privileges_is_set_or_missed_aloud() -> None:
    def privileges(traits: Traits) -> tuple[Any, list[str]]:
        found = rendered(SERVER, dataclasses.replace(SITE, traits=traits))
        return found.spec["TaskTemplate"]["ContainerSpec"].get("Privileges"), found.notes

    assert privileges(Traits(api=(1, 44))) == ({"NoNewPrivileges": True}, [])
    assert privileges(Traits(api=(1, 41), no_new_privileges=True)) == (None, [])
    assert "no-new-privileges" in privileges(Traits(api=(1, 41)))[1][0]


def test_taints_are_kubernetes_own() -> None:
    taints = {"placement": {"tolerations": [{"key": "nvidia.com/gpu"}]}}
    site = dataclasses.replace(SITE, traits=Traits(api=(1, 44)))
    assert rendered({**CASES["least"], **taints}, site).notes == [
        "least.placement.tolerations: has no meaning here, nodes of a Swarm have no taints"
    ]


def test_a_job_is_named_by_what_it_does() -> None:
    job = {"name": "migrate", "kind": "job", "image": "one", "secrets": [{"name": "secret"}]}
    name = rendered(job).name
    assert name == rendered({**job, "resources": {"limits": {"cpu": 1}}, "labels": {"a": "b"}}).name
    rotated = dataclasses.replace(SITE, secret_values={"secret": "rotated value"})
    others = {
        rendered({**job, "args": ["x"]}).name,
        rendered({**job, "image": "two"}).name,
        rendered(job, rotated).name,
    }
    assert len(others | {name}) == 4
    assert rendered(job).spec["TaskTemplate"]["RestartPolicy"] == {"Condition": "none"}
    assert not {"UpdateConfig", "RollbackConfig"} & set(rendered(job).spec)


def test_helpers_are_as_confined_as_workloads() -> None:
    specs = [pull_service("n", "s", "sha256:" + "1" * 64, []), ask_service(SITE, rendered(SERVER), "true")]
    for spec in specs:
        container = spec["TaskTemplate"]["ContainerSpec"]
        assert container["ReadOnly"] and container["CapabilityDrop"] == ["ALL"] and container["User"][0] != "0"
        assert spec["TaskTemplate"]["Resources"]["Limits"]


@given(st.text(min_size=1, max_size=40), st.text(max_size=20))
@settings(max_examples=30)
def test_lenient_rendering_takes_what_is_missing(name: str, value: str) -> None:
    """Check mode on a blank host: no image is built, no secret made yet."""
    site = dataclasses.replace(SITE, images={}, secret_values={name: value}, lenient=True)
    problems: list[str] = []
    render(Workload.from_dict({**CASES["least"], "secrets": [{"name": "unknown"}]}), site, problems)
    assert problems == []
