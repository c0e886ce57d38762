# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The whole platform as the roles declare it: its policies let through what is declared, and nothing else."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils import _model_spec as models
from ansible_collections.mlops.onprem.plugins.module_utils._workload import Workload, parse
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.render import (
    KubernetesFacts,
    KubernetesSite,
    collisions,
    namespaces,
    render,
    site_for,
)
from ansible_collections.mlops.onprem.plugins.module_utils._workload.rendering import routes, unknown_peers

from .kubernetes_policies import End, Network
from .kubernetes_rules import restricted, violations

ROOT = Path(__file__).resolve().parents[3]
PLAY = f"""
- hosts: localhost
  gather_facts: false
  vars_files: ["{ROOT}/playbooks/vars/platform.yml"]
  tasks:
    - ansible.builtin.include_role: {{name: mlops.onprem.secrets}}
    - ansible.builtin.include_role: {{name: "mlops.onprem.{{{{ item }}}}"}}
      loop: "{{{{ __platform_components }}}}"
    - ansible.builtin.copy:
        content: "{{{{ {{'workloads': mlops_workloads, 'secrets': mlops_secret_values}} | to_json }}}}"
        dest: "{{{{ out }}}}"
        mode: "0600"
"""
API = ("192.0.2.10", 6443)
# A site's own, beside what the components are now: what later components will be like.
OTHERS: list[dict[str, Any]] = [
    {
        "name": "scraper",
        "image": "scraper",
        "zone": "metrics",
        "ports": [{"name": "http", "port": 9090}, {"name": "health", "port": 9091}],
        "routes": [{"name": "page", "host": "scraper", "port": "http"}],
        "probes": {"readiness": {"http": {"port": "health", "path": "/-/ready"}}},
        "metrics": {"port": "http"},
    },
    {
        "name": "importer",
        "image": "importer",
        "egress": [{"host": "198.51.100.7", "port": 5432}, {"host": "s3.example.com", "port": 443}],
        "connects": ["mlflow", "gateway"],
    },
    {
        "name": "door",
        "image": "door",
        "zone": "stream",
        "ports": [{"name": "kafka", "port": 9092}, {"name": "out", "port": 9094, "published": 9094}],
    },
    {"name": "page", "image": "page", "zone": "edge", "ports": [{"name": "http", "port": 8080}]},
]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the roles declare, and their secrets."""
    if not (ansible := Path(sys.executable).parent / "ansible-playbook").exists():
        pytest.skip("ansible-playbook is not beside this Python")
    folder = tmp_path_factory.mktemp("platform")
    groups = "{mlops: {children: {mlops_managers: {hosts: {localhost: }}}}}"
    (folder / "hosts.yml").write_text(
        f"all: {{hosts: {{localhost: {{ansible_connection: local}}}}, children: {groups}}}\n"
    )
    (folder / "play.yml").write_text(PLAY)
    variables = {"out": str(folder / "out.json"), "ansible_python_interpreter": sys.executable}
    done = subprocess.run(
        [ansible, "-i", folder / "hosts.yml", "-e", json.dumps(variables), folder / "play.yml"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return dict(json.loads((folder / "out.json").read_text()))


def site(platform: dict[str, Any], declared: Iterable[Workload], entry: str) -> KubernetesSite:
    declared = list(declared)
    names = {item.image for workload in declared for item in (workload, *workload.jobs)}
    return site_for(
        "mlops",
        "platform",
        declared,
        domain="example.org",
        images={name: f"registry.example.org/{name.lower()}@sha256:{'0' * 64}" for name in names},
        secret_values=platform["secrets"],
        registry_auth={},
        kubernetes={"entry": entry},
        facts=KubernetesFacts("uid", api_endpoints=(API,)),
    )


class Platform:
    """The workloads, and the network that their policies make."""

    def __init__(self, platform: dict[str, Any], more: list[dict[str, Any]], entry: str) -> None:
        self.declared = parse([*platform["workloads"], *more])
        self.site = site(platform, self.declared, entry)
        problems: list[str] = unknown_peers(self.declared, self.site.zone_of)
        rendered = [render(workload, self.site, problems) for workload in self.declared]
        assert problems == [] and collisions(rendered) == []
        self.manifests = namespaces(self.site, None, True)
        self.manifests += [item for one in rendered for part in (*one.jobs, one) for item in part.manifests]
        self.network = Network(self.manifests)
        self.workloads = {item.name: item for workload in self.declared for item in (workload, *workload.jobs)}

    def allows(self, caller: str, answers: str, port: int) -> bool:
        protocols = {item.port: item.protocol.upper() for item in self.workloads[answers].ports}
        pods = self.network.pods
        return self.network.allows(pods[caller], pods[answers], port, protocols.get(port, "TCP"))

    def expected(self, caller: Workload, answers: Workload) -> set[int]:
        """The ports that the declarations open, said anew."""
        ports = {port.port for port in answers.ports}
        if answers.name in caller.connects:
            return ports
        found = {port.port for port in answers.ports if port.published is not None and opens(caller, answers)}
        gateway = caller.zone == "edge" and (caller.cluster_access or any(port.published for port in caller.ports))
        if gateway:
            for route in routes(answers, "example.org"):
                found |= {route["port"], (route["readiness"] or route)["port"]}
        if caller.zone == "metrics" and answers.metrics:
            found.add(answers.port_number(answers.metrics.port))
        return found


def opens(caller: Workload, answers: Workload) -> bool:
    """A published port is open to the world; a caller's own policy must let it out, too."""
    leads_out = {egress.port for egress in caller.egress if egress.address is None}
    published = {port.port for port in answers.ports if port.published is not None}
    gateway = caller.zone == "edge" and (caller.cluster_access or any(port.published for port in caller.ports))
    return gateway or caller.zone == "metrics" or bool(leads_out & published)


@pytest.fixture(scope="module", params=["host_port", "load_balancer"])
def installed(request: pytest.FixtureRequest, platform: dict[str, Any]) -> Platform:
    versions = [models.ModelVersion("2", "model"), models.ModelVersion("3", "model", role="challenger")]
    served = models.workloads(
        models.from_tag('{"schema": 1, "name": "phishing"}'), versions, models.Platform(name="mlops")
    )
    return Platform(platform, [*OTHERS, *served], request.param)


def test_every_pair(installed: Platform) -> None:
    wrong = []
    for caller, answers in itertools.permutations(installed.workloads.values(), 2):
        expected = installed.expected(caller, answers)
        for port in {item.port for item in answers.ports} | {22}:
            if answers.name in caller.connects:
                expected.add(port)  # a peer is open as a whole
            found = installed.allows(caller.name, answers.name, port)
            if found != (port in expected):
                wrong.append(f"{caller.name} -> {answers.name}:{port} is {'open' if found else 'shut'}")
    assert wrong == []


def test_what_the_platform_lives_by(installed: Platform) -> None:
    """The same by hand, where a mistake in the expectation would hide one in the policies."""
    allows = installed.allows
    for caller, answers, port in [
        ("gateway", "agent", 8080),
        ("gateway", "mlflow", 5000),
        ("gateway", "model-phishing", 9000),
        ("agent", "mlflow", 5000),
        ("agent", "model-phishing", 9000),
        ("mlflow", "postgresql", 5432),
        ("mlflow", "seaweedfs", 8333),
        ("mlflow-databases", "postgresql", 5432),
        ("mlflow-bucket", "seaweedfs", 8333),
        ("mlflow-gc", "mlflow", 5000),
        ("model-phishing", "mlflow", 5000),
        ("model-phishing--b", "mlflow", 5000),
        ("importer", "gateway", 8080),
        ("agent", "scraper", 9091),
        ("scraper", "gateway", 8082),
        ("scraper", "agent", 8080),
        ("scraper", "model-phishing", 6000),
    ]:
        assert allows(caller, answers, port), (caller, answers, port)
    for caller, answers, port in [
        ("gateway", "postgresql", 5432),
        ("gateway", "seaweedfs", 8333),
        ("agent", "postgresql", 5432),
        ("model-phishing", "postgresql", 5432),
        ("model-phishing", "model-phishing--b", 9000),
        ("postgresql", "mlflow", 5000),
        ("scraper", "mlflow", 5000),
        ("scraper", "postgresql", 5432),
        ("page", "mlflow", 5000),
        ("importer", "postgresql", 5432),
    ]:
        assert not allows(caller, answers, port), (caller, answers, port)


def test_the_world_outside(installed: Platform) -> None:
    network, pods = installed.network, installed.network.pods
    world, api = End("world", address="203.0.113.9"), End("api", address=API[0])
    for name, workload in installed.workloads.items():
        published = {port.port for port in workload.ports if port.published is not None}
        for port in workload.ports:
            assert network.allows(world, pods[name], port.port) == (port.port in published), (name, port)
        assert network.allows(pods[name], api, API[1]) == (name == "agent")
        assert network.allows(pods[name], world, 53, "UDP") and network.allows(pods[name], world, 53)
        assert not network.allows(pods[name], world, 80)
        # A name could be any address; an address is one.
        assert network.allows(pods[name], world, 443) == (name == "importer")
        database = End("database", address="198.51.100.7")
        assert network.allows(pods[name], database, 5432) == (name == "importer")
        assert not network.allows(pods[name], world, 5432)


def test_strangers_and_neighbours(installed: Platform) -> None:
    """Another platform's Pods with the same names, and somebody else's in our namespace."""
    network, pods = installed.network, installed.network.pods
    network.namespaces["other"] = {"kubernetes.io/metadata.name": "other"}
    for name, pod in pods.items():
        copy = End(name, "other", pod.labels)
        stranger = End("stranger", pod.namespace, {"app": "stranger"})
        for answers in pods.values():
            for port in installed.workloads[answers.name].ports:
                if port.published is None:
                    assert not network.allows(copy, answers, port.port), (name, answers.name)
                    assert not network.allows(stranger, answers, port.port), (name, answers.name)
        assert network.allows(stranger, End("other", "other"), 80)


def test_the_platform_keeps_the_rules(installed: Platform) -> None:
    wrong = []
    for item in installed.manifests:
        wrong += violations(item)
        if "template" in item.get("spec", {}):
            free = item["metadata"]["namespace"] == installed.site.edge
            wrong += restricted(item["spec"]["template"]["spec"], host_ports=free)
    assert wrong == []
    keys = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in installed.manifests]
    assert len(set(keys)) == len(keys)
    homes = {pod.namespace for pod in installed.network.pods.values()}
    assert homes == ({"mlops", "mlops-edge"} if installed.site.entry == "host_port" else {"mlops"})
