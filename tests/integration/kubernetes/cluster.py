# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Small workloads on a Kubernetes cluster, and a plain view of what its API has of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
for folder in ("plugins/module_utils",):
    if str(ROOT / folder) not in sys.path:
        sys.path.insert(0, str(ROOT / folder))

from _workload import Result, WorkloadError  # noqa: E402 - found only now
from _workload.backends import backend  # noqa: E402 - found only now
from _workload.kubernetes.access import AGENT_RULES  # noqa: E402 - found only now
from _workload.kubernetes.api import Api, ApiError  # noqa: E402 - found only now
from _workload.kubernetes.kinds import CLAIM, MADE, NAMESPACE, NODE, POD, STORAGE_CLASS, Key, kind_named  # noqa: E402 - found only now

__all__ = ["AGENT_RULES", "Cluster", "Result", "WorkloadError", "bed", "bed_images", "job", "server"]
BED_IMAGE = "testbed.invalid/busybox:1"
RAW = {"resourcequotas": "/api/v1/namespaces/{}", "storageclasses": "/apis/storage.k8s.io/v1"}
SECRETS = {"web_password": "correct horse battery staple"}
SERVE = (
    "mkdir -p /tmp/www; echo hello >/tmp/www/index.html; echo yes >/tmp/www/live; echo serving; "
    "(sleep ${LATE:-0}; echo yes >/tmp/www/ready) & exec httpd -f -p 8080 -h /tmp/www"
)


def bed(*words: str) -> str:
    """A word of bin/testbed to the bed of this machine, or to the one that MLOPS_TESTBED names."""
    name = os.environ.get("MLOPS_TESTBED", "kubernetes")
    command = [ROOT / "bin" / "testbed", "kubernetes", "--name", name, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        raise RuntimeError(f"testbed {' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout.strip()


def bed_images(*names: str) -> dict[str, str]:
    """The bed's busybox under other names, by digest, on each of its nodes."""
    listed = bed("exec", "node1", "--", "ctr", "-n", "k8s.io", "images", "ls", f"name=={BED_IMAGE}")
    digest = next(word for word in listed.split() if word.startswith("sha256:"))
    found = {name: f"t-kubernetes.invalid/{name}@{digest}" for name in names}
    for node in json.loads(bed("status")):
        for reference in found.values():
            there = bed("exec", node["name"], "--", "ctr", "-n", "k8s.io", "images", "ls", "-q", f"name=={reference}")
            if not there:
                bed("exec", node["name"], "--", "ctr", "-n", "k8s.io", "images", "tag", BED_IMAGE, reference)
    return found


def server(name: str = "web", *, late: float = 0, **more: Any) -> dict[str, Any]:
    """A server of one page: alive at once, ready after ``late`` seconds."""
    workload: dict[str, Any] = {
        "name": name,
        "image": "one",
        "args": ["sh", "-c", SERVE],
        "ports": [{"name": "http", "port": 8080}],
        "scratch": [{"path": "/tmp", "size": "1Mi"}],
        "probes": {
            "liveness": {"http": {"port": "http", "path": "/live"}, "interval": 1, "retries": 2, "start_period": 10}
        },
        "resources": {"limits": {"cpu": 0.2, "memory": "32Mi"}},
        "update": {"health_window": 2},
        "stop_grace": 1,
        "zone": "data",
    }
    if late:
        workload["env"] = {"LATE": f"{late:g}"}
        workload["probes"]["readiness"] = {"http": {"port": "http", "path": "/ready"}, "interval": 1, "timeout": 1}
    return {**workload, **more}


def job(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "job", "image": "one", "args": ["sh", "-c", script], "stop_grace": 1, **more}


class Cluster:
    """The seam under test, and the API behind it."""

    def __init__(self, namespace: str, kubeconfig: str, images: dict[str, str], **options: Any) -> None:
        self.namespace = namespace
        self.kubeconfig = kubeconfig
        self.images = images
        self.options = {"kubeconfig": kubeconfig, **options}
        self.api = Api(kubeconfig)

    def backend(self, timeout: float = 60, **options: Any) -> Any:
        return backend(
            "kubernetes", self.namespace, domain="test", wait_timeout=timeout, kubernetes={**self.options, **options}
        )

    def apply(self, *workloads: dict[str, Any], set_name: str = "platform", timeout: float = 60, **more: Any) -> Result:
        options = {"images": self.images, "secret_values": SECRETS, "progress": print, **more}
        result: Result = self.backend(timeout).apply(set_name, list(workloads), **options)
        return result

    def fails(self, *workloads: dict[str, Any], **more: Any) -> WorkloadError:
        try:
            self.apply(*workloads, **more)
        except WorkloadError as error:
            print(error)
            return error
        raise AssertionError("this should have failed")

    def absent(self, set_name: str = "platform", **more: Any) -> Result:
        result: Result = self.backend().absent(set_name, **{"progress": print, **more})
        return result

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(kind_named(kind).path(namespace or self.namespace, name))
        return {"apiVersion": kind_named(kind).api, "kind": kind, **found}

    def pods(self, name: str) -> list[dict[str, Any]]:
        return [
            pod
            for namespace in (self.namespace, f"{self.namespace}-edge")
            for pod in self.api.items(POD, namespace, f"mlops.onprem/workload={name}")
            if not pod["metadata"].get("deletionTimestamp")
        ]

    def run(self, name: str, script: str) -> str:
        """What a script prints in the workload's newest Pod."""
        pod = sorted(self.pods(name), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))[-1]["metadata"]
        done = subprocess.run(
            ["kubectl", "-n", pod["namespace"], "exec", pod["name"], "--", "sh", "-c", script],
            env={"KUBECONFIG": self.kubeconfig, "PATH": "/usr/bin:/usr/local/bin:/bin", "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def edit(self, kind: str, name: str, patch: dict[str, Any], namespace: str | None = None) -> None:
        """Changes a live object by hand."""
        path = kind_named(kind).path(namespace or self.namespace, name)
        self.api._patiently("PATCH", path, {"fieldManager": "somebody"}, patch, "application/merge-patch+json")

    def put(self, thing: dict[str, Any]) -> None:
        """Somebody else's object."""
        kind = kind_named(thing["kind"])
        path = kind.path(thing["metadata"].get("namespace"))
        self.api._patiently("POST", path, {"fieldManager": "somebody"}, thing)

    def remove(self, kind: str, name: str, namespace: str | None = None) -> None:
        try:
            self.api._patiently("DELETE", kind_named(kind).path(namespace or self.namespace, name), {}, {})
        except ApiError as error:
            if error.status != 404:
                raise

    def kind(self, name: str) -> Any:
        return {"StorageClass": STORAGE_CLASS, "Node": NODE}[name]

    def raw(self, plural: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"{RAW[plural].format(self.namespace)}/{plural}/{name}")
        return found

    def put_raw(self, plural: str, thing: dict[str, Any]) -> None:
        self.api._patiently("POST", f"{RAW[plural].format(self.namespace)}/{plural}", {}, thing)

    def remove_raw(self, plural: str, name: str) -> None:
        self.api._patiently("DELETE", f"{RAW[plural].format(self.namespace)}/{plural}/{name}", {}, {})

    def until(self, condition: Callable[[], Any], seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except ApiError as error:
                if error.status != 404:
                    raise
            assert time.monotonic() < end
            time.sleep(0.1)

    def objects(self) -> list[str]:
        """All that the API has in our namespaces, ours or not, but what Kubernetes puts into each."""
        found = []
        for namespace in (self.namespace, f"{self.namespace}-edge"):
            if self.api.find(NAMESPACE.path(None, namespace)) is None:
                continue
            found.append(str(Key("Namespace", "", namespace)))
            for kind in (*MADE, POD):
                for thing in self.api.items(kind, namespace):
                    name = thing["metadata"]["name"]
                    if (kind.name, name) not in (("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")):
                        found.append(str(Key(kind.name, namespace, name)))
        return sorted(found)

    def clean(self) -> None:
        for namespace in (self.namespace, f"{self.namespace}-edge"):
            for claim in self.api.items(CLAIM, namespace):
                self.api.delete(claim, CLAIM)
            self.remove("Namespace", namespace)
        until = time.monotonic() + 120
        while any(self.api.find(NAMESPACE.path(None, name)) for name in (self.namespace, f"{self.namespace}-edge")):
            assert time.monotonic() < until, f"{self.namespace} doesn't go away"
            time.sleep(0.5)


def main() -> None:
    """Applies the workloads on standard input: what a test kills."""
    namespace, kubeconfig, images = sys.argv[1:]
    Cluster(namespace, kubeconfig, json.loads(images)).apply(*json.load(sys.stdin))


if __name__ == "__main__":
    main()
