# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""From a workload to Kubernetes' objects: golden files (MLOPS_GOLDEN=write makes them anew), and what holds for any."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import math
import os
import re
import typing
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._workload import Workload, model
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.pod import LEAVE, literal
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.quantity import cores, number, size
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.render import (
    KubernetesFacts,
    KubernetesRendered,
    KubernetesSite,
    collisions,
    namespaces,
    render,
    site_for,
    start_budget,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from .cases import CASES, KUBERNETES_CASES, SERVER
from .kubernetes_rules import canonical, restricted, value, violations
from .test_model import declarations

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "workload" / "kubernetes"
SITE = KubernetesSite(
    namespace="mlops",
    set_name="platform",
    domain="example.org",
    images={
        "one": "registry.example.org/one@sha256:" + "1" * 64,
        "two": "registry.example.org:5000/two@sha256:" + "2" * 64,
    },
    secret_values={"secret": "a value of a secret", "password": "another value"},
    zone_of={"store": "data", "broker": "stream", "agent": "edge", "gateway": "edge"},
    salt="cluster",
    published=frozenset({"gateway"}),
    storage_class="fast",
    api_endpoints=(("10.96.0.1", 443), ("192.0.2.10", 6443)),
    pull_secret="mlops.registry",
)
ENTRIES = [SITE, *(dataclasses.replace(SITE, entry=entry) for entry in ("node_port", "load_balancer"))]
AUTH = {"username": "mlops", "password": "a password of the registry", "server": "registry.example.org"}


def rendered(data: dict[str, Any], site: KubernetesSite = SITE) -> KubernetesRendered:
    problems: list[str] = []
    found = render(Workload.from_dict(data), site, problems)
    assert problems == []
    return found


def refused(data: dict[str, Any], site: KubernetesSite = SITE) -> list[str]:
    problems: list[str] = []
    render(Workload.from_dict(data), site, problems)
    return problems


def manifests(found: KubernetesRendered) -> list[dict[str, Any]]:
    return [item for one in (*found.jobs, found) for item in one.manifests]


def kinds(found: KubernetesRendered) -> list[str]:
    return [item["kind"] for item in found.manifests]


def pod(found: KubernetesRendered) -> dict[str, Any]:
    return dict(found.main["spec"]["template"]["spec"])


def container(found: KubernetesRendered) -> dict[str, Any]:
    return dict(pod(found)["containers"][0])


def compare(name: str, found: list[dict[str, Any]]) -> None:
    file = GOLDEN / f"{name}.json"
    if os.environ.get("MLOPS_GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    assert found == json.loads(file.read_text())


@pytest.mark.parametrize("case", KUBERNETES_CASES)
def test_golden(case: str) -> None:
    compare(case, manifests(rendered(KUBERNETES_CASES[case])))


@pytest.mark.parametrize("entry", ["node_port", "load_balancer"])
def test_golden_of_other_entries(entry: str) -> None:
    site = dataclasses.replace(SITE, entry=entry)
    compare(f"gateway.{entry}", manifests(rendered(KUBERNETES_CASES["gateway"], site)))


def test_golden_of_what_sets_share() -> None:
    compare("namespaces", namespaces(SITE, AUTH, True))


def breaks(found: list[dict[str, Any]], site: KubernetesSite) -> list[str]:
    """What the API server, with Pod Security on, would refuse or write otherwise."""
    wrong = []
    for item in found:
        wrong += violations(item)
        if "template" in item.get("spec", {}):
            free = item["metadata"]["namespace"] == site.edge
            wrong += restricted(item["spec"]["template"]["spec"], host_ports=free)
    return wrong


@pytest.mark.parametrize("site", ENTRIES, ids=lambda site: site.entry)
@pytest.mark.parametrize("case", KUBERNETES_CASES)
def test_it_keeps_the_rules(case: str, site: KubernetesSite) -> None:
    found = manifests(rendered(KUBERNETES_CASES[case], site))
    assert breaks([*found, *namespaces(site, AUTH, True)], site) == []


def test_the_rules_are_not_blind() -> None:
    spec = pod(rendered(CASES["edge"]))
    assert restricted(spec, host_ports=True) == [] and restricted(spec) == ["gateway: hostPort"]
    spec = copy.deepcopy(spec)
    spec["containers"][0]["securityContext"] = {"privileged": True, "capabilities": {"add": ["KILL"]}}
    spec["securityContext"] = {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}
    spec["volumes"] = [{"name": "host", "hostPath": {"path": "/"}}]
    assert len(restricted(spec)) == 8


@given(declarations(), st.sampled_from(ENTRIES))
@settings(max_examples=150)
def test_any_workload_is_rendered_purely_and_keeps_the_rules(data: dict[str, Any], site: KubernetesSite) -> None:
    problems: list[str] = []
    workload = Workload.from_dict(data)
    first = render(workload, site, problems)
    assert first == render(Workload.from_dict(data), site, [])
    foreign = [text for text in problems if "Kubernetes wants a letter" not in text and "default" not in text]
    assert foreign == []
    if problems:
        return
    found = manifests(first)
    assert json.loads(json.dumps(found)) == found
    assert breaks(found, site) == []
    spec = pod(first)
    assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
    given_env = {item["name"]: expanded(item["value"], {}) for item in container(first).get("env", [])}
    assert given_env == workload.env
    assert tuple(expanded(word, workload.env) for word in container(first).get("args", [])) == workload.args


def expanded(text: str, env: dict[str, str]) -> str:
    """As the kubelet does it (third_party/forked/golang/expansion): $(NAME) is a variable, $$ is one dollar."""
    pattern = re.compile(r"\$(\$|\((.*?)\))", re.DOTALL)
    return pattern.sub(lambda match: "$" if match[1] == "$" else env.get(match[2], match[0]), text)


@given(st.text("$(){}A a", max_size=12))
def test_dollars_mean_themselves(text: str) -> None:
    assert expanded(literal(text), {"A": "x", "": "y", " ": "z"}) == text


@given(st.integers(0, 2**62), st.integers(0, 6))
def test_amounts_are_canonical(amount: int, power: int) -> None:
    for scaled in (amount, amount % 4096 * 1024**power, amount % 4096 * 1000**power):
        for text in (size(scaled), number(scaled)):
            assert value(text) == scaled and canonical(text)


@given(st.floats(0.001, 100_000))
def test_cores_are_canonical_and_never_less(amount: float) -> None:
    text = cores(amount)
    assert canonical(text) and amount - 1e-8 <= value(text) < amount + 0.0011
    assert cores(0.25) == "250m" and cores(2.0) == "2" and cores(0.0001) == "1m" and cores(2000) == "2k"


FULL: dict[str, Any] = {
    "name": "web",
    "image": "one",
    "kind": "service",
    "command": ["tini"],
    "args": ["serve"],
    "env": {"A": "a"},
    "configs": [{"path": "/etc/web.ini", "content": "x", "mode": "0444"}],
    "secrets": [{"name": "secret", "path": "/run/secrets/secret", "mode": "0400"}],
    "ports": [
        {"name": "http", "port": 8080, "protocol": "tcp", "published": 80},
        {"name": "other", "port": 8081},
    ],
    "routes": [
        {
            "name": "page",
            "port": "http",
            "host": "web",
            "path": "/a",
            "headers": {"h": "v"},
            "scheme": "http",
            "strip_path": False,
            "priority": 3,
            "subdomain": True,
        }
    ],
    "volumes": [
        {"name": "data", "path": "/data", "size": "1Gi", "scope": "workload"},
        {"name": "cache", "path": "/cache", "size": "1Gi", "scope": "node"},
    ],
    "scratch": [{"path": "/tmp", "size": "1Mi"}],
    "probes": {
        "startup": {
            "http": {"port": "http", "path": "/s", "headers": {"h": "v"}},
            "interval": 2,
            "timeout": 2,
            "retries": 2,
            "start_period": 20,
        },
        "liveness": {"tcp": {"port": "http"}, "interval": 2, "timeout": 2, "retries": 2, "start_period": 20},
        "readiness": {"command": ["ready"], "interval": 2, "timeout": 2, "retries": 2, "start_period": 20},
    },
    "replicas": 1,
    "resources": {
        "requests": {"cpu": 0.1, "memory": "1Mi", "gpu": 1},
        "limits": {"cpu": 1, "memory": "1Gi", "gpu": 1},
        "generic": {"site/fpga": 1},
    },
    "placement": {
        "labels": {"disk": "fast"},
        "spread": "node",
        "manager": False,
        "tolerations": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}],
    },
    "user": "5:6",
    "read_only": True,
    "capabilities": ["NET_BIND_SERVICE"],
    "zone": "data",
    "connects": ["store"],
    "egress": [{"host": "192.0.2.1", "port": 5432}],
    "metrics": {"port": "http", "path": "/m"},
    "jobs": [{"name": "prepare", "image": "one"}],
    "update": {"order": "start-first", "batch": 1, "health_window": 60, "rollback": True},
    "stop_grace": 10,
    "cluster_access": False,
    "labels": {"team": "a"},
}
# Where "another value" isn't just the next number or a longer word.
OTHER: dict[str, Any] = {
    "image": "two",
    "configs.0.mode": "0644",
    "secrets.0.name": "password",
    "secrets.0.mode": "0644",
    "ports.0.protocol": "udp",
    "routes.0.port": "other",
    "routes.0.scheme": "h2c",
    "volumes.0.size": "2Gi",
    "volumes.1.size": "2Gi",
    "volumes.0.scope": "node",
    "volumes.1.scope": "workload",
    "scratch.0.size": "2Mi",
    "probes.startup.http.port": "other",
    "probes.liveness.tcp.port": "other",
    "replicas": 0,
    "resources.requests.cpu": 0.2,
    "resources.requests.memory": "2Mi",
    "resources.limits.memory": "2Gi",
    "resources.requests.gpu": None,
    "resources.limits.gpu": None,
    "placement.spread": None,
    "placement.tolerations.0.effect": "NoExecute",
    "user": "5:7",
    "capabilities.0": "KILL",
    "zone": "models",
    "egress.0.host": "192.0.2.2",
    "metrics.port": "other",
    "update.order": "stop-first",
}
# What says nothing here, and why.
SILENT = {
    "ports.0.name": "its other fields refer to it; ports.1.name shows",
    "kind": "services and jobs have golden files of their own",
    "probes.readiness.start_period": "failing readiness costs nothing, early or late",
    "resources.requests.gpu": "one of both is enough: they must be equal",
    "resources.limits.gpu": "one of both is enough: they must be equal",
    "update.order": "a volume forces stop-first",
    "update.batch": "a volume means one replica",
    "probes.liveness.start_period": "a startup probe has its own",
}


def leaves(node: Any, path: str = "") -> list[str]:
    if isinstance(node, dict) and node:
        return [leaf for key, child in node.items() for leaf in leaves(child, f"{path}.{key}".strip("."))]
    if isinstance(node, list) and node:
        return [leaf for index, child in enumerate(node) for leaf in leaves(child, f"{path}.{index}")]
    return [path]


def changed(data: dict[str, Any], path: str) -> dict[str, Any]:
    """The declaration with another value at the path."""
    data = copy.deepcopy(data)
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    node: Any = data
    for part in way:
        node = node[part]
    old = node[last]
    if path in OTHER:
        node[last] = OTHER[path]
    elif isinstance(old, bool):
        node[last] = not old
    elif isinstance(old, (int, float)):
        node[last] = old + 1
    else:
        node[last] = old + "x"
    return data


def outcome(data: dict[str, Any]) -> Any:
    problems: list[str] = []
    found = render(Workload.from_dict(data), SITE, problems)
    return manifests(found), problems, found.notes


@pytest.mark.parametrize("path", [path for path in leaves(FULL) if path != "name" and path not in SILENT])
def test_no_field_is_dropped(path: str) -> None:
    """Changing any field changes what is sent, or is refused or remarked upon."""
    assert outcome(changed(FULL, path)) != outcome(FULL)


@pytest.mark.parametrize("path", ["update.order", "update.batch", "probes.liveness.start_period"])
def test_what_says_nothing_there_says_it_elsewhere(path: str) -> None:
    plain = {**copy.deepcopy(FULL), "volumes": [], "replicas": 2, "ports": FULL["ports"][1:]}
    plain |= {"routes": [], "metrics": None}
    plain["probes"] = {"liveness": {**FULL["probes"]["liveness"], "tcp": {"port": "other"}}}
    assert outcome(changed(plain, path)) != outcome(plain)


def test_every_field_is_looked_at() -> None:
    def fields(kind: Any, path: str) -> list[str]:
        found = []
        hints = typing.get_type_hints(kind, vars(model))
        for field in dataclasses.fields(kind):
            inner = [one for one in (hints[field.name], *typing.get_args(hints[field.name])) if one is not kind]
            types = [one for one in inner if dataclasses.is_dataclass(one)]
            found += fields(types[0], f"{path}.{field.name}") if types else [f"{path}.{field.name}".strip(".")]
        return found

    plain = re.compile(r"\.\d+(?=\.|$)")
    covered = {plain.sub("", path) for path in leaves(FULL)}
    covered |= {path.rpartition(".")[0] for path in covered}  # a mapping of the user's own keys
    missing = [path.strip(".") for path in fields(Workload, "")]
    # Each probe has the same three checks: one of them in each is enough.
    missing = [path for path in missing if path not in covered and not re.match(r"probes\.\w+\.(http|tcp|comm)", path)]
    assert missing == ["jobs"] or missing == [], missing


def test_what_kubernetes_cannot_do_is_refused() -> None:
    least = CASES["least"]
    big = [{"path": "/a", "content": "x" * 600_000}, {"path": "/b", "content": "x" * 600_000}]
    assert "least.configs: they have 1200000 bytes together" in refused({**least, "configs": big})[0]
    site = dataclasses.replace(SITE, secret_values={"secret": "x" * 2**20 + "x"})
    found = refused({**least, "secrets": [{"name": "secret"}, {"name": "none", "path": "/b"}]}, site)
    assert "no value for the secret 'none'" in found[0] and "least.secrets: they have 1048577 bytes" in found[1]
    assert "there is no image 'three' (known: one, two)" in refused({**SERVER, "image": "three"})[0]
    by_id = dataclasses.replace(SITE, images={"two": "sha256:" + "2" * 64})
    assert "is an image's id" in refused(least, by_id)[0]
    assert "web.capabilities[0]: KILL is refused" in refused({**SERVER, "capabilities": ["KILL"]})[0]
    assert "begins with a letter" in refused({**least, "name": "1st"})[0]
    assert refused({**least, "name": "1st", "kind": "job"}) == []
    assert "ServiceAccount" in refused({**least, "name": "default"})[0]
    assert "wants a letter" in refused({**least, "ports": [{"name": "80", "port": 80}]})[0]
    twice = [{"name": "a", "port": 80}, {"name": "b", "port": 80}]
    fpga = {"resources": {"generic": {"fpga": 1}}}
    assert "least.resources.generic.fpga: Kubernetes knows such by a domain" in refused({**least, **fpga})[0]
    assert "least.ports[1]: a is 80/tcp already" in refused({**least, "ports": twice})[0]
    labels = {"app.kubernetes.io/name": "x", "kubernetes.io/y": "z", "app.kubernetes.io/component": "fine"}
    assert len(refused({**least, "labels": labels})) == 2
    assert "no node of Kubernetes" in refused({**least, "placement": {"labels": {"a": "b c"}}})[0]
    assert "no colon" in refused({**least, "scratch": [{"path": "/a:b"}]})[0]
    assert "label" in refused(least, dataclasses.replace(SITE, set_name="my set"))[0]
    assert "as annotations" in refused({**least, "labels": {"a": "x" * 300_000}})[0]


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("env", {"A": "a value of a secret"}, "env.A"),
        ("labels", {"a": "a value of a secret"}, "labels.a"),
        ("configs", [{"path": "/a", "content": "p = another value\n"}], "configs[0].content"),
    ],
)
def test_a_secret_outside_its_file_is_refused(field: str, value: Any, place: str) -> None:
    assert refused({**SERVER, field: value})[0].startswith(f"web.{place}: holds the value of the secret")


def test_secrets_are_in_secrets_alone() -> None:
    found = rendered({**SERVER, "secrets": [{"name": "secret"}, {"name": "password"}]})
    others = json.dumps([item for item in found.manifests if item["kind"] != "Secret"])
    secret = next(item for item in found.manifests if item["kind"] == "Secret")
    for name, text in SITE.secret_values.items():
        coded = base64.b64encode(text.encode()).decode()
        assert text not in others and coded not in others and secret["data"][name] == coded
    rotated = dataclasses.replace(SITE, secret_values={**SITE.secret_values, "secret": "rotated value"})
    elsewhere = dataclasses.replace(SITE, salt="another cluster")
    data = {**SERVER, "secrets": [{"name": "secret"}]}
    names = {container_files(rendered(data, site)) for site in (SITE, rotated, elsewhere)}
    assert len(names) == 3


def container_files(found: KubernetesRendered) -> str:
    return str([volume.get("secret", {}).get("secretName") for volume in pod(found)["volumes"]])


def test_files_are_readable_by_the_user_who_is_only_in_their_group() -> None:
    configs = [{"path": "/a/run.sh", "content": "x", "mode": "0500"}, {"path": "/b/run.sh", "content": "y"}]
    found = rendered({**CASES["least"], "user": "7:8", "configs": configs, "secrets": [{"name": "secret"}]})
    assert pod(found)["securityContext"]["fsGroup"] == 8
    volumes = {volume["name"]: volume for volume in pod(found)["volumes"]}
    modes = {item["path"]: item["mode"] for item in volumes["config"]["configMap"]["items"]}
    assert sorted(modes.values()) == [0o444, 0o550] and modes["run.sh"] == 0o550
    assert volumes["secret"]["secret"]["items"] == [{"key": "secret", "path": "secret", "mode": 0o440}]
    data = next(item for item in found.manifests if item["kind"] == "ConfigMap")["data"]
    assert sorted(data.values()) == ["x", "y"]
    paths = {mount["mountPath"]: data.get(mount["subPath"]) for mount in container(found)["volumeMounts"]}
    assert paths == {"/a/run.sh": "x", "/b/run.sh": "y", "/run/secrets/secret": None}


def test_one_secret_at_two_paths_is_stored_once() -> None:
    both = [{"name": "secret", "path": "/a/key", "mode": "0400"}, {"name": "secret", "path": "/b/key", "mode": "0444"}]
    found = rendered({**CASES["least"], "secrets": both})
    items = pod(found)["volumes"][0]["secret"]["items"]
    assert [item["key"] for item in items] == ["secret", "secret"] and items[0]["path"] != items[1]["path"]
    assert [item["mode"] for item in items] == [0o440, 0o444]


def probe(fields: dict[str, Any]) -> dict[str, Any]:
    found = container(rendered({**SERVER, "probes": fields}))
    return {name: found[name] for name in ("startupProbe", "livenessProbe", "readinessProbe") if name in found}


def test_probes() -> None:
    tcp = {"tcp": {"port": "http"}}
    assert probe({}) == {}
    # Liveness alone: it is readiness too, and its start period a startup probe that asks often.
    found = probe({"liveness": {**tcp, "interval": 30, "retries": 4, "start_period": 61, "timeout": 0.2}})
    check = {"tcpSocket": {"port": 8080}, "timeoutSeconds": 1}
    assert found["startupProbe"] == {**check, "periodSeconds": 5, "failureThreshold": 13 + 24}
    assert found["livenessProbe"] == {**check, "periodSeconds": 30, "failureThreshold": 4} == found["readinessProbe"]
    assert list(probe({"liveness": {**tcp, "start_period": 0}})) == ["livenessProbe", "readinessProbe"]
    # Startup takes liveness' check, and its own pace.
    found = probe({"liveness": tcp, "startup": {"interval": 2, "start_period": 90, "retries": 3, "timeout": 7}})
    paced = {"periodSeconds": 2, "timeoutSeconds": 7, "failureThreshold": 48}
    assert found["startupProbe"] == {"tcpSocket": {"port": 8080}, **paced}
    # Its own check where it has one; whole seconds, for as long as before.
    fast = {**tcp, "interval": 0.25, "retries": 20}
    found = probe({"liveness": fast, "startup": {"command": ["started"], "interval": 0.5, "start_period": 0.1}})
    assert found["startupProbe"]["exec"] == {"command": ["started"]} and found["startupProbe"]["failureThreshold"] == 4
    assert (found["livenessProbe"]["periodSeconds"], found["livenessProbe"]["failureThreshold"]) == (1, 5)


SECONDS = st.floats(0.1, 10_000)


@given(interval=SECONDS, retries=st.integers(1, 50), period=st.floats(0, 10_000), startup=st.booleans())
def test_probes_are_never_less_patient(interval: float, retries: int, period: float, startup: bool) -> None:
    pace = {"interval": interval, "retries": retries, "start_period": period}
    liveness: dict[str, Any] = {"tcp": {"port": "http"}, **({} if startup else pace)}
    data = {**SERVER, "probes": {"liveness": liveness, **({"startup": pace} if startup else {})}}
    found = container(rendered(data))
    alive = found["livenessProbe"]
    if not startup:
        assert alive["periodSeconds"] * alive["failureThreshold"] >= interval * retries - 1e-3
        assert alive["periodSeconds"] * (alive["failureThreshold"] - 1) < max(interval * retries, 1)
    if startup or period:
        start = found["startupProbe"]
        assert start["periodSeconds"] * start["failureThreshold"] >= period + interval * (retries if startup else 0)
        assert start_budget(Workload.from_dict(data)) >= period
    assert rendered(data).main["spec"]["progressDeadlineSeconds"] > start_budget(Workload.from_dict(data))


def test_who_is_what() -> None:
    assert rendered(CASES["least"]).main["kind"] == "Deployment"
    store = rendered(CASES["database"])
    assert store.main["kind"] == "StatefulSet" and store.jobs[0].main["kind"] == "Job"
    claim = next(item for item in store.manifests if item["kind"] == "PersistentVolumeClaim")
    assert claim["metadata"]["name"] == "store-data" and claim["spec"]["storageClassName"] == "fast"
    anywhere = dataclasses.replace(SITE, storage_class="")
    claim = next(item for item in rendered(CASES["database"], anywhere).manifests if item["kind"].endswith("Claim"))
    assert "storageClassName" not in claim["spec"]
    unsized = {**CASES["least"], "volumes": [{"name": "data", "path": "/data"}]}
    assert "has no size, so it asks for 10Gi" in rendered(unsized).notes[0]
    assert "PodDisruptionBudget" in kinds(rendered(CASES["server"])) and "PodDisruptionBudget" not in kinds(store)
    names = [store.name, store.image, store.namespace]
    assert names == ["store", SITE.images["one"], "mlops"]


def test_how_a_new_version_takes_over() -> None:
    def strategy(site: KubernetesSite = SITE, **fields: Any) -> dict[str, Any]:
        return dict(rendered({**SERVER, **fields}, site).main["spec"]["strategy"])

    ports = [{"name": "http", "port": 8080, "published": 80}]
    assert strategy(update={"batch": 2})["rollingUpdate"] == {"maxSurge": 2, "maxUnavailable": 0}
    assert strategy(update={"order": "stop-first"}) == {"type": "Recreate"}
    assert strategy(ports=ports) == {"type": "Recreate"}
    several = strategy(ports=ports, replicas=3, update={"batch": 2})
    assert several["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 2}
    # No port of the host is held there: both versions fit.
    site = dataclasses.replace(SITE, entry="load_balancer")
    assert strategy(site, ports=ports)["rollingUpdate"]["maxUnavailable"] == 0


def test_the_edge_namespace() -> None:
    found = rendered(KUBERNETES_CASES["gateway"])
    assert found.namespace == "mlops-edge" and found.main["metadata"]["namespace"] == "mlops-edge"
    back = [item for item in found.manifests if item["kind"] == "Service" and item["metadata"]["namespace"] == "mlops"]
    assert back[0]["spec"] == {"type": "ExternalName", "externalName": "gateway.mlops-edge.svc.cluster.local"}
    assert pod(found)["dnsConfig"] == {"searches": ["mlops.svc.cluster.local"]}
    assert [port.get("hostPort") for port in container(found)["ports"]] == [80, 443, None]
    site = dataclasses.replace(SITE, entry="node_port")
    entry = rendered(KUBERNETES_CASES["gateway"], site)
    assert entry.namespace == "mlops" and len(entry.notes) == 2 and "the cluster chooses" in entry.notes[0]
    high = {**SERVER, "ports": [{"name": "http", "port": 8080, "published": 30080}]}
    service = next(item for item in rendered(high, site).manifests if item["metadata"]["name"] == "web-entry")
    assert service["spec"]["ports"][0]["nodePort"] == 30080 and rendered(high, site).notes == []
    assert not any("hostPort" in port for port in container(entry)["ports"])


def test_the_agent_may_what_the_backend_does_and_no_more() -> None:
    found = rendered(KUBERNETES_CASES["agent"])
    roles = [item for item in found.manifests if item["kind"] == "Role"]
    assert [role["metadata"]["namespace"] for role in roles] == ["mlops", "mlops-edge"]
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in json.dumps(rule) and "nodes" not in rule["resources"]
            if "rbac.authorization.k8s.io" in rule["apiGroups"]:
                assert set(rule["verbs"]) == {"get", "list"}
    binding = next(item for item in found.manifests if item["kind"] == "RoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "agent", "namespace": "mlops"}]
    assert pod(found)["automountServiceAccountToken"] is True and found.notes == []
    alone = rendered(KUBERNETES_CASES["agent"], dataclasses.replace(SITE, published=frozenset()))
    assert kinds(alone).count("Role") == 1
    assert "Role" not in kinds(rendered(SERVER))


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
    assert len(others | {name}) == 4 and all(len(one) == len("migrate-") + 10 for one in others)
    long = rendered({**job, "name": "j" * 40})
    assert len(long.name) <= 63


def test_what_restarts_no_pod() -> None:
    """Routes, metrics, labels, peers and the registry's password leave the Pods as they are."""
    before = pod(rendered(SERVER))
    changes: list[dict[str, Any]] = [
        {"routes": [{"name": "page", "port": "http"}]},
        {"metrics": {"port": "http"}},
        {"labels": {"a": "b"}},
        {"connects": ["store"]},
        {"egress": [{"host": "db.example.com", "port": 5432}]},
        {"replicas": 4},
        {"update": {"batch": 3}},
    ]
    for change in changes:
        assert pod(rendered({**SERVER, **change})) == before, change
    assert pod(rendered(SERVER, dataclasses.replace(SITE, pull_secret=None, domain="other.org"))) == before


def test_who_leaves_says_so_first() -> None:
    """A Pod that another one takes the place of answers until everybody knows; one that nobody does goes at once."""
    pause = {"preStop": {"sleep": {"seconds": LEAVE}}}
    gateway = {**SERVER, "ports": [{"name": "http", "port": 8080, "published": 80}]}
    data = {**SERVER, "volumes": [{"name": "data", "path": "/data", "size": "1Gi"}]}
    for entry in ENTRIES:
        assert container(rendered(SERVER, entry))["lifecycle"] == pause
    for alone in (gateway, data, {**SERVER, "update": {"order": "stop-first"}}, {"name": "least", "image": "two"}):
        found = rendered(alone)
        assert "lifecycle" not in container(found) and pod(found)["terminationGracePeriodSeconds"] == 30
    assert "lifecycle" in container(rendered(gateway, ENTRIES[2]))
    assert "lifecycle" not in container(rendered({**SERVER, "probes": {}, "kind": "job"}))


def test_own_labels_can_be_read_back() -> None:
    meta = rendered(KUBERNETES_CASES["outside"]).main["metadata"]
    assert meta["labels"]["team"] == "a" and meta["annotations"]["note"] == "a value with spaces"
    assert json.loads(meta["annotations"]["mlops.onprem/labels"]) == KUBERNETES_CASES["outside"]["labels"]


def test_ports_below_1024_can_be_bound() -> None:
    sysctls = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]
    assert pod(rendered(KUBERNETES_CASES["outside"]))["securityContext"]["sysctls"] == sysctls
    assert "sysctls" not in pod(rendered(SERVER))["securityContext"]


def test_a_limit_alone_reserves_little() -> None:
    limits = {"limits": {"cpu": 2, "memory": "1Gi"}}
    assert container(rendered({**SERVER, "resources": limits}))["resources"]["requests"] == {
        "cpu": "50m",
        "memory": "32Mi",
    }
    small = {"limits": {"cpu": 0.01, "memory": "8Mi"}}
    found = container(rendered({**SERVER, "resources": small}))["resources"]
    assert found["requests"] == found["limits"]


def test_collisions_are_named() -> None:
    ports = [{"name": "http", "port": 8080, "published": 80}]
    site = dataclasses.replace(SITE, entry="node_port")
    both = [{**SERVER, "ports": ports}, {**SERVER, "name": "web-entry"}]
    assert collisions(rendered(data, site) for data in both) == [
        "web-entry: its Service web-entry would be web's: rename one of them"
    ]
    data = [
        {**CASES["least"], "name": "a", "volumes": [{"name": "b-c", "path": "/d"}]},
        {**CASES["least"], "name": "a-b", "volumes": [{"name": "c", "path": "/d"}]},
    ]
    assert "PersistentVolumeClaim a-b-c" in collisions(rendered(one) for one in data)[0]
    assert collisions(rendered(case) for name, case in KUBERNETES_CASES.items() if name != "edge") == []
    assert {"edge", "gateway"} <= set(KUBERNETES_CASES)


def test_what_sets_share() -> None:
    found = namespaces(SITE, None, False)
    assert [item["kind"] for item in found] == ["Namespace", "NetworkPolicy"]
    assert found[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    unnamed = namespaces(SITE, {"username": "u", "password": "p"}, False)[-1]
    config = json.loads(base64.b64decode(unnamed["data"][".dockerconfigjson"]))
    assert sorted(config["auths"]) == ["registry.example.org", "registry.example.org:5000"]
    assert len(namespaces(dataclasses.replace(SITE, entry="node_port"), None, True)) == 2


@given(declarations())
@settings(max_examples=30)
def test_lenient_rendering_takes_what_is_missing(data: dict[str, Any]) -> None:
    """Check mode on a blank host: no image is built, no secret made yet."""
    site = dataclasses.replace(SITE, images={}, secret_values={}, lenient=True)
    problems: list[str] = []
    render(Workload.from_dict({**data, "name": "web", "secrets": [{"name": "unknown"}]}), site, problems)
    assert problems == []


def test_the_site_from_what_the_user_and_the_cluster_say() -> None:
    facts = KubernetesFacts("uid", {"old": "data"}, {"old", "moved"}, (("192.0.2.1", 6443),))
    assert KubernetesFacts.from_dict(json.loads(json.dumps(facts.to_dict()))) == dataclasses.replace(
        facts, published=frozenset({"old", "moved"})
    )
    declared = [Workload.from_dict(data) for data in (CASES["edge"], {**SERVER, "name": "moved"})]

    def site(**kubernetes: Any) -> KubernetesSite:
        return site_for(
            "mlops",
            "platform",
            declared,
            domain="example.org",
            images={},
            secret_values={},
            registry_auth={},
            kubernetes=kubernetes,
            facts=facts,
        )

    assert site().published == {"old", "gateway"} and site(entry="node_port").published == frozenset()
    assert site().zone_of == {"old": "data", "gateway": None, "moved": None} and site().pull_secret is None
    assert site(storage_class="x", cluster_domain="y").storage_class == "x"


def test_times_are_whole_and_enough() -> None:
    found = rendered({**SERVER, "stop_grace": 12.2})
    assert pod(found)["terminationGracePeriodSeconds"] == math.ceil(12.2) + LEAVE
