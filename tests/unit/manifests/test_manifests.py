# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is written is what a backend applies, without a secret's value or a hash that would give it away."""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._workload import WorkloadError, parse
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes import backend as kubernetes
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes import manifest as kubernetes_manifest
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes import render as kubernetes_render
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.kinds import key_of
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.live import shown
from ansible_collections.mlops.onprem.plugins.module_utils._workload.manifest import Declared, leaked
from ansible_collections.mlops.onprem.plugins.module_utils._workload.rendering import NO_SALT, decode
from ansible_collections.mlops.onprem.plugins.module_utils._workload.swarm import backend as swarm
from ansible_collections.mlops.onprem.plugins.module_utils._workload.swarm import manifest as swarm_manifest
from ansible_collections.mlops.onprem.plugins.module_utils._workload.swarm.live import Snapshot
from ansible_collections.mlops.onprem.plugins.plugin_utils.manifests import to_yaml

sys.path.insert(0, str(Path(__file__).parent))

from declared import IMAGES, MODELS, PLATFORM, REGISTRY, SECRETS

TARGETS = pytest.mark.parametrize("target", [swarm_manifest, kubernetes_manifest], ids=["swarm", "kubernetes"])


def declared(set_name: str = "platform", workloads: Any = PLATFORM, **more: Any) -> Declared:
    options: dict[str, Any] = {"domain": "example.org", "images": IMAGES, "secret_values": SECRETS}
    return Declared("t", set_name, parse(workloads), **{**options, "registry_auth": REGISTRY, **more})


def made(target: ModuleType, wanted: Declared, *neighbours: Any, **known: Any) -> Any:
    facts, _notes = target.assumed(wanted, known)
    return target.manifests(wanted, facts, neighbours)


def texts(target: ModuleType, wanted: Declared, found: Any) -> dict[str, str]:
    facts, _notes = target.assumed(wanted, {})
    shared, secrets = target.shared(wanted, facts, [found.neighbour])
    files = {**found.files, **shared, **target.listing([*found.files, *shared])}
    return {name: item if isinstance(item, str) else to_yaml(item) for name, item in files.items()} | {
        "SECRETS.yaml": to_yaml([[item.to_dict() for item in [*found.secrets, *secrets]]])
    }


@TARGETS
def test_no_value_of_a_secret_and_no_fast_hash_of_one(target: ModuleType) -> None:
    wanted = declared()
    everything = "\n".join(texts(target, wanted, made(target, wanted)).values())
    for name, value in SECRETS.items():
        assert name in everything or name == "registry_password"
        forms = [value, *[line for line in value.splitlines() if "-----" not in line]]
        for form in forms:
            raw = form.encode()
            assert form not in everything
            assert base64.b64encode(raw).decode() not in everything
            for algorithm in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "blake2s"):
                digest = hashlib.new(algorithm, raw).hexdigest()
                assert digest[:8] not in everything, f"{algorithm} of {name}"
                assert base64.b64encode(bytes.fromhex(digest)).decode()[:10] not in everything


@TARGETS
def test_a_leak_is_found_whatever_rendering_lets_through(target: ModuleType) -> None:
    wanted = declared()
    files = texts(target, wanted, made(target, wanted))
    assert leaked(files, SECRETS) == []
    for form in (*SECRETS.values(), base64.b64encode(SECRETS["store_password"].encode()).decode()):
        assert leaked({"x.yaml": to_yaml([{"a": {"b": form}}])}, SECRETS) != []


@TARGETS
def test_the_same_files_for_the_same_declaration(target: ModuleType) -> None:
    wanted = declared()
    assert texts(target, wanted, made(target, wanted)) == texts(target, declared(), made(target, declared()))


@TARGETS
def test_a_secret_of_another_value_or_salt_is_another_object(target: ModuleType) -> None:
    def names(wanted: Declared, **known: Any) -> set[str]:
        return {item.name for item in made(target, wanted, **known).secrets}

    base = names(declared())
    assert names(declared()) == base
    assert not names(declared(), salt="another") & base
    changed = names(declared(secret_values={**SECRETS, "store_password": "another value"}))
    assert changed - base
    assert changed & base


@TARGETS
def test_what_mounts_a_secret_names_an_object_that_is_listed(target: ModuleType) -> None:
    found = made(target, declared())
    listed = {item.name for item in found.secrets}
    text = "\n".join(to_yaml(item) for item in found.files.values() if not isinstance(item, str))
    assert listed
    for name in listed:
        assert name in text


@TARGETS
def test_a_set_knows_its_neighbours(target: ModuleType) -> None:
    platform = made(target, declared())
    with pytest.raises(WorkloadError, match="there is no workload 'page'"):
        made(target, declared("models", MODELS))
    assert made(target, declared("models", MODELS), platform.neighbour).files


@TARGETS
def test_all_problems_at_once(target: ModuleType) -> None:
    with pytest.raises(WorkloadError) as caught:
        made(target, declared(images={"two": "x"}, secret_values={}))
    assert len(caught.value.problems) > 3
    assert any("there is no image 'one'" in problem for problem in caught.value.problems)
    assert any("there is no value for the secret 'store_password'" in problem for problem in caught.value.problems)


@TARGETS
def test_what_is_made_up_is_said(target: ModuleType) -> None:
    _facts, notes = target.assumed(declared(), {"salt": None, "api_endpoints": None})
    assert any(note.startswith("The names of ") for note in notes)
    _facts, notes = target.assumed(declared(), {"salt": "x"})
    assert not any(note.startswith("The names of ") for note in notes)


def test_kubernetes_files_are_what_rendering_makes_without_the_secrets() -> None:
    wanted = declared()
    facts, _notes = kubernetes_manifest.assumed(wanted, {"api_endpoints": ["192.0.2.1:6443", "[2001:db8::1]:6443"]})
    assert facts.api_endpoints == (("192.0.2.1", 6443), ("2001:db8::1", 6443))
    found = kubernetes_manifest.manifests(wanted, facts, [])
    site = kubernetes_render.site_for(
        "t",
        "platform",
        wanted.workloads,
        domain="example.org",
        images=IMAGES,
        secret_values=SECRETS,
        registry_auth=REGISTRY,
        kubernetes={},
        facts=facts,
    )
    for workload in wanted.workloads:
        rendered = kubernetes_render.render(workload, site, [])
        objects = [thing for item in (*rendered.jobs, rendered) for thing in item.manifests]
        assert found.files[f"{workload.name}.yaml"] == [thing for thing in objects if thing["kind"] != "Secret"]
    shared, secrets = kubernetes_manifest.shared(wanted, facts, [found.neighbour])
    objects = kubernetes_render.namespaces(site, REGISTRY, True)
    assert shared == {"namespaces.yaml": [thing for thing in objects if thing["kind"] != "Secret"]}
    assert {item.namespace for item in secrets} == {"t", "t-edge"}
    assert "registry_password" in secrets[0].keys[".dockerconfigjson"]


def test_kubernetes_kustomization_lists_every_file_once() -> None:
    listed = kubernetes_manifest.listing(["platform/b.yaml", "namespaces.yaml", "models/a.yaml"])
    assert listed["kustomization.yaml"][0]["resources"] == ["namespaces.yaml", "models/a.yaml", "platform/b.yaml"]


@pytest.mark.parametrize(
    ("options", "kinds"), [({}, {"Namespace", "NetworkPolicy"}), ({"manage_namespaces": False}, {"NetworkPolicy"})]
)
def test_kubernetes_namespaces_are_not_written_where_somebody_else_makes_them(options: Any, kinds: set[str]) -> None:
    wanted = declared(kubernetes=options)
    facts, _notes = kubernetes_manifest.assumed(wanted, {})
    shared, _secrets = kubernetes_manifest.shared(wanted, facts, [{"zone_of": {}, "published": []}])
    assert {thing["kind"] for thing in shared["namespaces.yaml"]} == kinds


def test_kubernetes_edge_is_another_sets_too() -> None:
    """The namespace for host ports is written as long as any set lives in it."""
    platform = made(kubernetes_manifest, declared())
    models = declared("models", MODELS)
    facts, _notes = kubernetes_manifest.assumed(models, {})
    names = [
        thing["metadata"]["name"]
        for thing in kubernetes_manifest.shared(models, facts, [platform.neighbour])[0]["namespaces.yaml"]
        if thing["kind"] == "Namespace"
    ]
    assert names == ["t", "t-edge"]


@pytest.mark.parametrize("text", ["192.0.2.1", ":6443", "host:https"])
def test_kubernetes_endpoints_are_read_strictly(text: str) -> None:
    with pytest.raises(WorkloadError, match="is not an address with a port"):
        kubernetes_manifest.assumed(declared(), {"api_endpoints": [text]})


def test_kubernetes_salt_is_made_up_where_there_is_no_namespace_yet() -> None:
    told = {"salt": "blank", "zone_of": {"x": "edge"}, "api_endpoints": [["192.0.2.1", 6443]]}
    facts, notes = kubernetes_manifest.told(declared(), {}, told)
    assert facts.salt == "t@example.org"
    assert facts.zone_of == {"x": "edge"}
    assert facts.api_endpoints == (("192.0.2.1", 6443),)
    assert notes
    facts, notes = kubernetes_manifest.told(declared(), {}, {**told, "salt": "uid"})
    assert (facts.salt, notes) == ("uid", [])


KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: x
contexts: [{name: x, context: {cluster: x, user: x}}]
clusters: [{name: x, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: x, user: {}}]
"""


def test_kubernetes_files_are_what_an_apply_would_send(tmp_path: Path) -> None:
    """The module's own account of it, where there is no cluster yet."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)
    options = {"kubeconfig": str(kubeconfig)}
    backend = kubernetes.KubernetesBackend(
        "t", domain="example.org", registry_auth=REGISTRY, kubernetes=options, wait_timeout=1
    )
    result = backend.apply("platform", PLATFORM, images=IMAGES, secret_values=SECRETS, check=True)
    facts = kubernetes_manifest.Facts(NO_SALT)
    found = kubernetes_manifest.manifests(declared(kubernetes=options), facts, [])
    sent = {text: thing for things in result.after.values() for text, thing in things.items()}
    written = {str(key_of(thing)): shown(thing) for item in found.files.values() for thing in item}
    assert {text: thing for text, thing in sent.items() if text in written} == written
    assert sorted(set(sent) - set(written)) == sorted(str(key_of(thing)) for thing in found.values[2:])


class Engine:
    """Takes what is sent, and knows nothing."""

    api = (1, 41)
    host = "nowhere"
    socket = "/var/run/docker.sock"
    socket_group = 998
    daemon_options: dict[str, Any] = {}

    def __init__(self) -> None:
        self.sent: dict[str, list[dict[str, Any]]] = {}

    def get(self, path: str, **_more: Any) -> Any:
        assert path in ("/services", "/networks", "/configs", "/secrets", "/nodes"), path
        return []

    def clone(self) -> Engine:
        return self

    def find(self, _path: str) -> None:
        return None

    def post(self, path: str, data: Any, **_more: Any) -> dict[str, str]:
        kind = path.strip("/").partition("/")[0]
        self.sent.setdefault(kind, []).append(data)
        return {"ID": data["Name"], "Id": data["Name"]}


def test_swarm_files_are_what_an_apply_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    sent: dict[str, dict[str, Any]] = {}

    class Recorder:
        def __init__(self, _engine: Any, _site: Any, units: Any, *_args: Any, **_more: Any) -> None:
            sent.update({unit.rendered.name: unit.rendered.spec for unit in units})

        def run(self, _snapshot: Snapshot) -> None:
            pass

    monkeypatch.setattr(swarm, "Rollout", Recorder)
    monkeypatch.setattr(swarm, "fixed", lambda _engine, reference, _nodes: reference)
    monkeypatch.setattr(swarm.Objects, "_pin", lambda *_args: None)
    monkeypatch.setattr(swarm, "prepare_here", lambda *_args: None)
    monkeypatch.setattr(swarm.SwarmBackend, "node_id", "node")
    backend = swarm.SwarmBackend("t", domain="example.org", registry_auth=REGISTRY)
    backend._engine = engine
    backend._info = {"Swarm": {"Cluster": {"ID": "cluster"}}, "LoggingDriver": "json-file"}
    facts = swarm_manifest.Facts.from_dict(backend.facts(IMAGES))
    backend.apply("platform", PLATFORM, images=IMAGES, secret_values=SECRETS)

    found = swarm_manifest.manifests(declared(), facts, [])
    services = {name: item[0] for name, item in found.files.items() if name.count("/") == 0 and name != "configs.yaml"}
    assert {spec["Name"]: spec for spec in services.values()} == sent
    assert set(services) == {"gateway.yaml", "agent.yaml", "store.yaml", "page.yaml", "page-job.yaml"}
    shared, _secrets = swarm_manifest.shared(declared(), facts, [found.neighbour])
    assert sorted(shared["networks.yaml"], key=str) == sorted(engine.sent["networks"], key=str)
    configs = {item["Name"]: (item["Labels"], found.files[item["File"]]) for item in found.files["configs.yaml"]}
    assert configs == {item["Name"]: (item["Labels"], decode(item["Data"])) for item in engine.sent["configs"]}
    assert {item.name: item.labels for item in found.secrets} == {
        item["Name"]: item["Labels"] for item in engine.sent["secrets"]
    }


def test_swarm_facts_survive_the_way_to_the_control_host() -> None:
    facts = swarm_manifest.Facts("salt", {"a": "edge", "b": None}, swarm_manifest.Facts("x").traits)
    assert swarm_manifest.Facts.from_dict(facts.to_dict()) == facts
    assert swarm_manifest.assumed(declared(), {"socket_group": 998, "nodes": 3, "api": "1.44"})[0].traits.api == (1, 44)
    with pytest.raises(WorkloadError, match="is not a version"):
        swarm_manifest.assumed(declared(), {"api": "newest"})
