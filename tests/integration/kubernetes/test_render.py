# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What rendering makes, in front of a real API server with Pod Security enforced.

Needs MLOPS_KUBECONFIG, an administrator's kubeconfig, and for what really runs MLOPS_KUBERNETES_IMAGE: a busybox that
every node has or can pull (default: the test bed's). It makes two namespaces and removes them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
for folder in (ROOT, ROOT / ".collections", Path(__file__).parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from ansible_collections.mlops.onprem.plugins.module_utils._workload import Workload  # noqa: E402 - found only now
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.access import AGENT_RULES  # noqa: E402
from ansible_collections.mlops.onprem.plugins.module_utils._workload.kubernetes.render import (  # noqa: E402
    KubernetesRendered,
    KubernetesSite,
    namespaces,
    render,
)
from client import Client, Refused, altered, path  # noqa: E402

from tests.unit.workload.cases import KUBERNETES_CASES  # noqa: E402

IMAGE = os.environ.get("MLOPS_KUBERNETES_IMAGE", "testbed.invalid/busybox:1")
SECRET = "a value that is secret, $(HOME) and $$ in it"
# Ours by server-side apply, so that another value is a conflict; but where they are nothing, an object shows nothing.
EMPTY = (".spec.minReadySeconds: 0 became None", ".value: '' became None")


@pytest.fixture(scope="session")
def client() -> Client:
    kubeconfig = os.environ.get("MLOPS_KUBECONFIG")
    if not kubeconfig:
        pytest.skip("MLOPS_KUBECONFIG names no cluster")
    return Client(Path(kubeconfig))


@pytest.fixture(scope="session")
def site(client: Client) -> Iterator[KubernetesSite]:
    """Two namespaces of our own, with what all sets share."""
    name = f"t-render-{secrets.token_hex(2)}"
    digest = "registry.example.org/{}@sha256:" + "1" * 64
    found = KubernetesSite(
        namespace=name,
        set_name="test",
        domain="example.org",
        images={"one": digest.format("one"), "two": digest.format("two"), "busybox": IMAGE},
        secret_values={"secret": SECRET, "password": "another value"},
        zone_of={"store": "data", "broker": "stream", "agent": "edge", "gateway": "edge"},
        salt=name,
        published=frozenset({"gateway"}),
        api_endpoints=(("10.96.0.1", 443),),
        pull_secret="mlops.registry",
    )
    shared = namespaces(found, {"username": "u", "password": "p", "server": "registry.example.org"}, True)
    try:
        for item in shared:
            kept = client.apply(item)
            assert altered(item, kept) == []
            assert client.apply(item)["metadata"]["resourceVersion"] == kept["metadata"]["resourceVersion"]
        yield found
    finally:
        for item in shared:
            if item["kind"] == "Namespace":
                client.ask("DELETE", path(item))


def rendered(data: dict[str, Any], site: KubernetesSite) -> KubernetesRendered:
    problems: list[str] = []
    found = render(Workload.from_dict(data), site, problems)
    assert problems == []
    return found


def manifests(found: KubernetesRendered) -> list[dict[str, Any]]:
    return [item for one in (*found.jobs, found) for item in one.manifests]


@pytest.mark.parametrize("entry", ["host_port", "node_port", "load_balancer"])
@pytest.mark.parametrize("case", KUBERNETES_CASES)
def test_the_server_takes_it_as_it_is(case: str, entry: str, client: Client, site: KubernetesSite) -> None:
    client.warnings.clear()
    there = dataclasses.replace(site, entry=entry)
    found = rendered(KUBERNETES_CASES[case], there)
    for item in manifests(found):
        kept = client.apply(item, dry_run=True)
        wrong = [text for text in altered(item, kept) if not text.endswith(EMPTY)]
        assert wrong == [], f"{item['kind']} {item['metadata']['name']}"
    expected = 1 if found.namespace == there.edge else 0
    # The edge namespace says what host ports are, and takes them; nothing else is worth a word.
    assert len(client.warnings) == expected and all("hostPort" in text for text in client.warnings)


def test_a_breach_would_be_seen(client: Client, site: KubernetesSite) -> None:
    """Pod Security does look, and strict validation does too."""
    client.warnings.clear()
    found = rendered(KUBERNETES_CASES["server"], site).main
    spec = found["spec"]["template"]["spec"]
    spec["hostPID"] = True
    client.apply(found, dry_run=True)
    assert any("restricted" in text for text in client.warnings)
    spec["colour"] = "red"
    with pytest.raises(Refused, match="colour"):
        client.apply(found, dry_run=True)


@pytest.mark.parametrize("case", ["agent", "database", "gateway", "outside", "server"])
def test_a_second_time_changes_nothing(case: str, client: Client, site: KubernetesSite) -> None:
    data = {**KUBERNETES_CASES[case], "name": f"again-{case}", "replicas": 0, "jobs": []}
    one = rendered(data, site)
    found, main = one.manifests, one.main
    for item in found:
        client.apply(item)
    try:
        until_status(client, site, one, "observedGeneration")
        for item in found:
            before = client.ask("GET", path(item))
            assert _own(client.apply(item, dry_run=True)) == _own(before)
        # Somebody's change by hand is theirs until somebody decides: a conflict, even where ours is nothing.
        changed = {"apiVersion": main["apiVersion"], "kind": main["kind"], "spec": {"minReadySeconds": 7}}
        client.ask("PATCH", f"{path(main)}?fieldManager=somebody", changed, "application/merge-patch+json")
        with pytest.raises(Refused, match="minReadySeconds"):
            client.apply(main, dry_run=True)
    finally:
        for item in reversed(found):
            client.ask("DELETE", path(item))


def _own(kept: dict[str, Any]) -> dict[str, Any]:
    meta = {key: value for key, value in kept["metadata"].items() if key not in ("managedFields", "resourceVersion")}
    return {**{key: value for key, value in kept.items() if key != "status"}, "metadata": meta}


SCRIPT = """
set -u
{
  id -u; id -g
  stat -L -c %a:%g /etc/app.ini /run/secrets/secret
  cat /run/secrets/secret; echo
  echo "$LITERAL"
  echo "$1"
  touch /tmp/x /data/x /cache/x && echo writable
  touch /x 2>/dev/null || echo read-only
  [ -e /var/run/secrets/kubernetes.io/serviceaccount/token ] || echo no token
} > /tmp/found 2>&1
mkdir /tmp/www && cp /tmp/found /tmp/www/ && exec httpd -f -p 80 -h /tmp/www
"""


def test_it_runs(client: Client, site: KubernetesSite) -> None:
    """Files, user, volumes, a low port, readiness and the name: as declared, in a Pod that Pod Security let in."""
    name = "runs"
    ask = {"name": "runs-ask", "image": "busybox", "kind": "job"}
    data: dict[str, Any] = {
        "name": name,
        "image": "busybox",
        "command": ["sh", "-c", SCRIPT, "sh"],
        "args": ["$(LITERAL) $$"],
        "env": {"LITERAL": "$(HOME) $$ $HOME"},
        "configs": [{"path": "/etc/app.ini", "content": "colour = red\n", "mode": "0400"}],
        "secrets": [{"name": "secret"}],
        "ports": [{"name": "http", "port": 80}],
        "volumes": [
            {"name": "data", "path": "/data", "size": "16Mi"},
            {"name": "cache", "path": "/cache", "size": "16Mi", "scope": "node"},
        ],
        "scratch": [{"path": "/tmp", "size": "4Mi"}],
        "user": "10007:10008",
        "probes": {"liveness": {"http": {"port": "http", "path": "/found"}, "interval": 1}},
        "resources": {"limits": {"cpu": 0.5, "memory": "32Mi"}},
        "stop_grace": 1,
    }
    found = rendered(data, site)
    for item in found.manifests:
        client.apply(item)
    until_status(client, site, found, "readyReplicas")
    try:
        job = rendered({**ask, "args": ["wget", "-q", "-O", "-", f"http://{name}/found"]}, site)
        for item in job.manifests:
            client.apply(item)
        until_status(client, site, job, "succeeded")
        (pod,) = pods(client, site, "runs-ask")
        log = client.ask("GET", f"/api/v1/namespaces/{site.namespace}/pods/{pod}/log")
    finally:
        for item in found.manifests:
            client.ask("DELETE", path(item))
    assert log.splitlines() == [
        *("10007", "10008", "440:10008", "440:10008", SECRET),
        *("$(HOME) $$ $HOME", "$(LITERAL) $$", "writable", "read-only", "no token"),
    ]


def test_the_edge_and_home_find_each_other(client: Client, site: KubernetesSite) -> None:
    """By short names in both directions, and the host's port leads in."""
    serve = ["sh", "-c", 'mkdir /tmp/www && echo "$NAME" > /tmp/www/name && exec httpd -f -p 8080 -h /tmp/www']
    server = {"image": "busybox", "command": serve, "scratch": [{"path": "/tmp"}], "stop_grace": 1}
    ports = [{"name": "http", "port": 8080}]
    probes = {"liveness": {"http": {"port": "http", "path": "/name"}, "interval": 1}}
    home = {**server, "name": "home", "env": {"NAME": "home"}, "ports": ports, "probes": probes}
    # Ready once it has found the other by its short name.
    finds = {**probes, "readiness": {"command": ["wget", "-q", "-O", "/dev/null", "http://home:8080/name"]}}
    out = [{**ports[0], "published": 18099}]
    door = {**server, "name": "door", "env": {"NAME": "door"}, "ports": out, "probes": finds, "connects": ["home"]}
    there = dataclasses.replace(site, published=frozenset({"door"}))
    both = [rendered(data, there) for data in (home, door)]
    ask = {"name": "door-ask", "kind": "job", "image": "busybox", "connects": ["door"]}
    job = rendered({**ask, "args": ["wget", "-q", "-O", "-", "http://door:8080/name"]}, there)
    try:
        for item in [*manifests(both[0]), *manifests(both[1])]:
            client.apply(item)
        for one in both:
            until_status(client, site, one, "readyReplicas")
        for item in job.manifests:
            client.apply(item)
        until_status(client, site, job, "succeeded")
        (pod,) = client.ask("GET", f"/api/v1/namespaces/{site.edge}/pods")["items"]
        with urllib.request.urlopen(f"http://{pod['status']['hostIP']}:18099/name", timeout=5) as answer:
            assert answer.read() == b"door\n"
    finally:
        for item in reversed([*manifests(both[0]), *manifests(both[1])]):
            client.ask("DELETE", path(item))


def pods(client: Client, site: KubernetesSite, workload: str) -> list[str]:
    where = f"/api/v1/namespaces/{site.namespace}/pods?labelSelector=mlops.onprem/workload%3D{workload}"
    return [item["metadata"]["name"] for item in client.ask("GET", where)["items"]]


def state(client: Client, site: KubernetesSite) -> str:
    events = client.ask("GET", f"/api/v1/namespaces/{site.namespace}/events")["items"]
    return "\n".join(f"{item['involvedObject']['name']}: {item['message']}" for item in events[-15:])


def until_status(
    client: Client, site: KubernetesSite, found: KubernetesRendered, field: str, seconds: float = 90
) -> None:
    """Waits until that number of the controller's status is 1."""
    end = time.monotonic() + seconds
    while client.ask("GET", path(found.main))["status"].get(field) != 1:
        assert time.monotonic() < end, f"{found.name}: {field}\n{state(client, site)}"
        time.sleep(0.3)


def test_the_agents_rights(client: Client, site: KubernetesSite) -> None:
    """Each verb of its rules, and none that would make it more than it is."""
    found = rendered({**KUBERNETES_CASES["agent"], "replicas": 0}, site)
    for item in found.manifests[:-1]:
        client.apply(item)

    def may(verb: str, resource: str, group: str = "", *, namespace: str = site.namespace, name: str = "") -> bool:
        resource, _slash, sub = resource.partition("/")
        attributes = {"verb": verb, "resource": resource, "group": group, "subresource": sub, "name": name}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{site.namespace}:agent",
                "resourceAttributes": {**attributes, "namespace": namespace},
            },
        }
        answer = client.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    for namespace in site.namespaces:
        for rule in AGENT_RULES:
            for verb in rule["verbs"]:
                for resource in rule["resources"]:
                    assert may(verb, resource, rule["apiGroups"][0], namespace=namespace), (verb, resource)
        assert may("get", "namespaces", namespace=namespace, name=namespace)
    rbac = "rbac.authorization.k8s.io"
    assert not may("get", "namespaces", namespace="kube-system", name="kube-system")
    assert not may("get", "secrets", namespace="kube-system")
    assert not may("get", "nodes", namespace="")
    assert not may("create", "rolebindings", rbac) and not may("patch", "roles", rbac)
    assert not may("create", "pods/exec") and not may("delete", "persistentvolumeclaims")
    for item in found.manifests[:-1]:
        client.ask("DELETE", path(item))


def test_a_job_outlives_a_drained_node(client: Client, site: KubernetesSite) -> None:
    """An evicted Pod is no failure of the job's: another one does the work."""
    data = {"name": "drained", "kind": "job", "image": "busybox", "command": ["sh", "-c", "sleep 5"], "stop_grace": 1}
    job = rendered(data, site)
    for item in job.manifests:
        client.apply(item)
    until_status(client, site, job, "ready")
    (first,) = pods(client, site, "drained")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": first}}
    client.ask("POST", f"/api/v1/namespaces/{site.namespace}/pods/{first}/eviction", eviction)
    until_status(client, site, job, "succeeded")
    assert not client.ask("GET", path(job.main))["status"].get("failed")


def test_kubectl_agrees(client: Client, site: KubernetesSite, tmp_path: Path) -> None:
    """The same by the tool that operators have, for a whole set at once."""
    try:
        subprocess.run(["kubectl", "version", "--client"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no kubectl")
    listed = [item for case in ("database", "server") for item in manifests(rendered(KUBERNETES_CASES[case], site))]
    file = tmp_path / "set.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": listed}))
    done = subprocess.run(
        ["kubectl", "apply", "--server-side", "--dry-run=server", "--field-manager=mlops.onprem", "-f", str(file)],
        env={**os.environ, "KUBECONFIG": os.environ["MLOPS_KUBECONFIG"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(listed)
