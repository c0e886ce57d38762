# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Reading declarations: what is taken, what is refused, and in which words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._workload import Workload, WorkloadError, parse, zones
from ansible_collections.mlops.onprem.plugins.module_utils._workload.order import dependencies, levels
from hypothesis import given, settings
from hypothesis import strategies as st

LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
WORD = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=12)
PATH = st.from_regex(r"(/[a-z]{1,6}){1,3}", fullmatch=True)
SECONDS = st.floats(0.1, 1000, allow_nan=False)
KEY = st.from_regex(r"[A-Z][A-Z_]{0,8}", fullmatch=True)
PROBE = st.one_of(
    st.fixed_dictionaries({"http": st.fixed_dictionaries({"port": st.just("http"), "path": PATH})}),
    st.fixed_dictionaries({"tcp": st.just({"port": "http"})}),
    st.fixed_dictionaries({"command": st.lists(WORD, min_size=1, max_size=3)}),
).flatmap(
    lambda check: st.fixed_dictionaries({}, optional={"interval": SECONDS, "retries": st.integers(1, 9)}).map(
        lambda pace: {**check, **pace}
    )
)


@st.composite
def declarations(draw: st.DrawFn) -> dict[str, Any]:
    """Declarations of services that nothing is wrong with."""
    paths = draw(st.lists(PATH, min_size=4, max_size=4, unique=True))
    liveness = draw(st.none() | PROBE)
    startup = draw(st.fixed_dictionaries({"start_period": SECONDS, "interval": SECONDS}))
    return {
        "name": draw(LABEL),
        "image": "one",
        "args": draw(st.lists(WORD, max_size=3)),
        "env": draw(st.dictionaries(KEY, WORD, max_size=3)),
        "configs": [{"path": paths[0], "content": draw(WORD), "mode": draw(st.sampled_from(["0444", "0440", "400"]))}],
        "secrets": draw(st.sampled_from([[], [{"name": "secret", "path": paths[1]}]])),
        "ports": [{"name": "http", "port": draw(st.integers(1, 65535)), "published": draw(st.none() | st.just(8080))}],
        "routes": draw(st.sampled_from([[], [{"name": "page", "port": "http", "host": "page"}]])),
        "volumes": draw(st.sampled_from([[], [{"name": "data", "path": paths[2], "scope": "node", "size": "10Gi"}]])),
        "scratch": draw(st.sampled_from([[], [{"path": paths[3], "size": "8Mi"}]])),
        "probes": {"liveness": liveness, "startup": startup} if liveness else {},
        "replicas": draw(st.integers(0, 5)),
        "resources": {
            "limits": {"cpu": draw(st.floats(0.01, 8)), "memory": draw(st.sampled_from(["64Mi", 10**8]))},
            "generic": draw(st.sampled_from([{}, {"example.com/fpga": 2}])),
        },
        "placement": {"labels": draw(st.dictionaries(LABEL, LABEL, max_size=2))},
        "zone": draw(st.sampled_from([None, "edge", "data", "models"])),
        "connects": draw(st.sampled_from([[], ["zz-other"]])),
        "update": {"order": draw(st.sampled_from(["start-first", "stop-first"]))},
        "stop_grace": draw(SECONDS),
        "labels": draw(st.dictionaries(LABEL, WORD, max_size=2)),
    }


@given(declarations())
@settings(max_examples=150)
def test_what_is_read_can_be_written_and_read_again(data: dict[str, Any]) -> None:
    workload = Workload.from_dict(data)
    assert Workload.from_dict(workload.to_dict()) == workload
    assert Workload.from_dict(workload.to_dict()).to_dict() == workload.to_dict()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["name", "image", "ports", "port", "probes", "liveness", "http", "jobs", "env", "update"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=20,
    )
)
@settings(max_examples=200)
def test_nothing_but_its_own_error_comes_out(data: Any) -> None:
    try:
        Workload.from_dict(data)
    except WorkloadError as error:
        assert error.problems


def problems(**fields: Any) -> list[str]:
    try:
        parse([{"name": "web", "image": "one", **fields}])
    except WorkloadError as error:
        return error.problems
    return []


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": "Web"}, "Web.name: 'Web' is not a DNS label"),
        ({"name": "x" * 41}, "has 41 characters, at most 40 fit"),
        ({"image": None}, "web.image: is required"),
        ({"colour": "red"}, "web.colour: is not known here (known: args, "),
        ({"env": {"A": True}}, "web.env.A: must be a string, not a boolean: write it in quotes"),
        ({"env": {"A": None}}, "web.env.A: must be a string, not nothing"),
        ({"args": "run"}, "web.args: must be a list of strings, not a string"),
        ({"ports": [{"name": "a", "port": 0}]}, "web.ports[0].port: 0 is not between 1 and 65535"),
        ({"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]}, "web.ports[1].name: 'a' is there twice"),
        ({"routes": [{"name": "a", "port": "http"}]}, "routes[0].port: 'http' is not the name of a port (ports: none)"),
        ({"routes": [{"name": "a", "port": "b", "path": "x"}]}, "web.routes[0].path: 'x' does not begin with /"),
        ({"probes": {"liveness": {}}}, "web.probes.liveness: needs one check"),
        ({"probes": {"startup": {}}}, "web.probes.startup: needs a liveness probe beside it"),
        ({"probes": {"liveness": {"tcp": {"port": 1}, "command": ["a"]}}}, "web.probes.liveness: has more than one"),
        ({"probes": {"liveness": {"tcp": {"port": 1}}}}, "web.probes.liveness.tcp.port: '1' is not one of its ports"),
        ({"user": "0:5"}, "web.user: must not be root"),
        ({"user": "mlops"}, "web.user: 'mlops' is not a numeric user"),
        ({"capabilities": ["ALL"]}, "web.capabilities[0]: 'ALL' is not a capability"),
        ({"volumes": [{"name": "a", "path": "/a"}], "replicas": 2}, "web.replicas: a volume of scope workload"),
        ({"scratch": [{"path": "/a"}], "configs": [{"path": "/a", "content": ""}]}, "web.scratch: /a is taken by"),
        ({"scratch": [{"path": "a"}]}, "web.scratch[0].path: 'a' is not an absolute path"),
        ({"scratch": [{"path": "/a", "size": "1 MB"}]}, "'1 MB' is not a size such as 512Mi or 2Gi"),
        ({"configs": [{"path": "/a", "content": "", "mode": 444}]}, "444 is not a file mode as a quoted string"),
        ({"labels": {"mlops.set": "x"}}, "web.labels.mlops.set: labels that begin with mlops. are reserved"),
        ({"connects": ["web"]}, "web.connects: a workload must not connect to itself"),
        ({"zone": "moon"}, "web.zone: 'moon' is not one of edge, data, stream, metrics, models"),
        (
            {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": 1}}},
            "web.resources.requests.cpu: 2.0 is more than limits.cpu 1.0",
        ),
        ({"resources": {"generic": {"fpga": 0}}}, "web.resources.generic.fpga: must be a whole number above 0"),
        ({"resources": {"generic": {"gpu": 1}}}, "web.resources.generic.gpu: is asked for by requests.gpu"),
        ({"kind": "job", "replicas": 2}, "web.replicas: a job runs once"),
        ({"kind": "job", "probes": {"liveness": {"command": ["a"]}}}, "web.probes: a job has none"),
        ({"jobs": [{"name": "j", "image": "one", "connects": ["web"]}]}, "web.jobs[0].connects: web is not there yet"),
        ({"jobs": [{"name": "web", "image": "one"}]}, "web: there is more than one workload or job of this name"),
    ],
)
def test_problems_name_the_field(fields: dict[str, Any], problem: str) -> None:
    found = problems(**fields)
    assert any(problem in text for text in found), found


def test_all_problems_come_at_once() -> None:
    found = problems(user="0", zone="moon", ports=[{"name": "A", "port": "x"}])
    assert len(found) == 4


def test_workloads_side_by_side() -> None:
    port = [{"name": "http", "port": 80, "published": 80}]
    route = [{"name": "page", "port": "http", "host": "page"}]
    with pytest.raises(WorkloadError) as caught:
        parse([{"name": name, "image": "one", "ports": port, "routes": route} for name in ("a", "b")])
    assert caught.value.problems == [
        "b.ports: a publishes 80/tcp already",
        "b.routes: a has page / already",
    ]


def test_defaults_are_safe() -> None:
    workload = Workload.from_dict({"name": "web", "image": "one"})
    assert workload.user == "10001:10001" and workload.read_only and not workload.capabilities
    assert not workload.cluster_access


def test_zones_come_from_the_edges() -> None:
    workload = Workload.from_dict(
        {
            "name": "web",
            "image": "one",
            "zone": "models",
            "connects": ["store", "broker"],
            "ports": [{"name": "http", "port": 1}],
            "routes": [{"name": "a", "port": "http"}],
        }
    )
    assert zones(workload, {"store": "data", "broker": "stream", "unrelated": "metrics"}) == [
        "edge",
        "data",
        "stream",
        "models",
    ]


def test_who_scrapes_joins_all_zones_and_nobody_joins_one_for_it() -> None:
    scraper = Workload.from_dict({"name": "scraper", "image": "one", "zone": "metrics"})
    assert zones(scraper, {}) == ["edge", "data", "stream", "metrics", "models"]
    port = {"ports": [{"name": "http", "port": 1}], "metrics": {"port": "http"}}
    model = Workload.from_dict({"name": "model", "image": "one", "zone": "models", **port})
    assert zones(model, {"scraper": "metrics"}) == ["models"]
    # One that nobody else talks to has to be somewhere.
    assert zones(Workload.from_dict({"name": "exporter", "image": "one", **port}), {}) == ["metrics"]


def test_data_and_ports_of_the_host_stop_first() -> None:
    data = {"name": "web", "image": "one", "volumes": [{"name": "a", "path": "/a"}]}
    assert Workload.from_dict(data).update_order == "stop-first"
    data["volumes"] = [{"name": "a", "path": "/a", "scope": "node"}]
    assert Workload.from_dict(data).update_order == "start-first"
    data["ports"] = [{"name": "http", "port": 1, "published": 2}]
    assert Workload.from_dict(data).update_order == "stop-first"


def graph(edges: dict[str, list[str]]) -> list[Workload]:
    return [Workload.from_dict({"name": name, "image": "i", "connects": peers}) for name, peers in edges.items()]


def test_order_is_as_parallel_as_it_can_be() -> None:
    found = levels(graph({"web": ["store", "cache"], "store": [], "cache": [], "gateway": ["web", "elsewhere"]}))
    assert found == [["store", "cache"], ["web"], ["gateway"]]


@given(st.dictionaries(LABEL, st.lists(LABEL, max_size=4), max_size=8))
def test_every_graph_has_an_order(edges: dict[str, list[str]]) -> None:
    """Circles too; and what isn't in a circle waits for all that it needs."""
    workloads = graph({name: [peer for peer in peers if peer != name] for name, peers in edges.items()})
    waits = dependencies(workloads)
    assert sorted(name for group in levels(workloads) for name in group) == sorted(waits)
    for workload in workloads:
        for peer in workload.connects:
            assert peer not in waits or peer in waits[workload.name] or _reaches(edges, peer, workload.name)


def _reaches(edges: dict[str, list[str]], start: str, goal: str, seen: frozenset[str] = frozenset()) -> bool:
    return start == goal or any(
        _reaches(edges, peer, goal, seen | {start}) for peer in edges.get(start, []) if peer not in seen | {start}
    )


def test_the_package_needs_neither_ansible_nor_docker_to_read() -> None:
    """Images take it along by itself."""
    code = (
        "import sys; sys.modules['docker'] = None; sys.modules['requests'] = None;"
        "import _workload; _workload.parse([{'name': 'web', 'image': 'one'}]);"
        "assert not [m for m in sys.modules if m.startswith('ansible')]"
    )
    folder = Path(__file__).resolve().parents[3] / "plugins" / "module_utils"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
