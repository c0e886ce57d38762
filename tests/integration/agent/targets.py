# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the tests need of a cluster beside the seam: images brought, commands run in a task, a task killed, all that an
inspection shows.

MLOPS_TEST_TARGET says which cluster it is: `swarm` is this machine's, `kubernetes` the one that bin/testbed makes,
of the name MLOPS_TEST_KUBERNETES_BED.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


class Target(ABC):
    """`variables` are what an inventory of this target says."""

    name: str
    variables: Mapping[str, Any]
    drain: float
    """Seconds for which what is told to stop must go on by itself, so that no request is lost."""

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """The backend's, as the seam takes them."""

    @abstractmethod
    def bring(self, images: Mapping[str, str]) -> dict[str, str]:
        """The references by which every node starts the images."""

    @abstractmethod
    def forget(self) -> None:
        """Takes what was brought away again."""

    @abstractmethod
    def address(self, task: Any) -> str:
        """Where the host ports of a task are reached from here."""

    @abstractmethod
    def exec(self, task: Any, command: Sequence[str]) -> tuple[int, str]:
        """Runs a command in a task's container: its exit code and what it printed."""

    @abstractmethod
    def kill(self, task: Any) -> None:
        """Ends a task's container from outside, without a warning."""

    @abstractmethod
    def shown(self, namespace: str) -> str:
        """All that may be looked at without seeing secrets."""


class Swarm(Target):
    name = "swarm"
    variables: Mapping[str, Any] = {"mlops_target": "swarm"}
    drain = 3

    @functools.cached_property
    def client(self) -> Any:
        import docker

        return docker.from_env(timeout=60)

    def options(self) -> dict[str, Any]:
        return {}

    def bring(self, images: Mapping[str, str]) -> dict[str, str]:
        return dict(images)

    def forget(self) -> None:
        """The engine's images are everybody's."""

    def address(self, task: Any) -> str:
        return "127.0.0.1"

    def exec(self, task: Any, command: Sequence[str]) -> tuple[int, str]:
        code, output = self.client.containers.get(task.container).exec_run(list(command))
        return code, output.decode()

    def kill(self, task: Any) -> None:
        self.client.containers.get(task.container).kill()

    def shown(self, namespace: str) -> str:
        services = self.client.services.list(filters={"label": f"mlops.namespace={namespace}"})
        return json.dumps([service.attrs for service in services])


class Kubernetes(Target):
    """A bed: what only the machine itself can do, it does on the bed's nodes."""

    name = "kubernetes"
    drain = 0
    registry = "stand.invalid:5000"
    """No registry: its images are on every node already."""
    shown_kinds = (
        *("api/v1/configmaps", "api/v1/pods", "api/v1/services", "api/v1/events", "api/v1/serviceaccounts"),
        *("apis/apps/v1/deployments", "apis/apps/v1/replicasets", "apis/networking.k8s.io/v1/networkpolicies"),
    )

    def __init__(self, bed: str) -> None:
        self.bed = bed
        self._references: list[str] = []
        self.kubeconfig = self._testbed("kubeconfig").decode().strip()
        self.variables = {
            "mlops_target": "kubernetes",
            "mlops_kubeconfig": self.kubeconfig,
            "agent_registry": self.registry,
        }

    def options(self) -> dict[str, Any]:
        return {"kubernetes": {"kubeconfig": self.kubeconfig}}

    def bring(self, images: Mapping[str, str]) -> dict[str, str]:
        return {name: self._brought(name, reference) for name, reference in images.items()}

    def forget(self) -> None:
        for node in self._nodes() if self._references else ():
            self._ctr(node, "images", "rm", *self._references)

    def address(self, task: Any) -> str:
        addresses = self._get(f"/api/v1/nodes/{task.node}")["status"]["addresses"]
        return str(next(item["address"] for item in addresses if item["type"] == "InternalIP"))

    def exec(self, task: Any, command: Sequence[str]) -> tuple[int, str]:
        from kubernetes.client import CoreV1Api
        from kubernetes.stream import stream

        meta = self._pod(task)["metadata"]
        call = stream(
            CoreV1Api(self._client()).connect_get_namespaced_pod_exec,  # `stream` changes the client that it is given
            meta["name"],
            meta["namespace"],
            command=list(command),
            stdout=True,
            stderr=True,
            stdin=False,
            tty=False,
            _preload_content=False,
        )
        call.run_forever(timeout=60)
        return call.returncode, call.read_all()

    def kill(self, task: Any) -> None:
        found = self._pod(task)
        container = found["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
        self._ctr(found["spec"]["nodeName"], "tasks", "kill", "--signal=SIGKILL", container)

    def shown(self, namespace: str) -> str:
        homes = (namespace, f"{namespace}-edge")
        paths = [kind.replace("v1/", f"v1/namespaces/{home}/") for kind in self.shown_kinds for home in homes]
        return json.dumps([self._get(f"/{path}") for path in paths])

    def _pod(self, task: Any) -> dict[str, Any]:
        pods = self._get("/api/v1/pods?labelSelector=mlops.onprem/namespace")["items"]
        return next(dict(pod) for pod in pods if task.id in (pod["metadata"]["uid"], pod["metadata"]["name"]))

    def _nodes(self) -> list[str]:
        return [item["metadata"]["name"] for item in self._get("/api/v1/nodes")["items"]]

    def _brought(self, name: str, reference: str) -> str:
        """The digest is the given one: a node's own depends on which of the layers it had already."""
        archive = subprocess.run(["docker", "save", reference], capture_output=True, check=True).stdout
        wanted = f"{self.registry}/{name}@{reference.partition('@')[2]}"
        words = ("images", "import", f"--base-name={self.registry}/{name}", "--digests", "-")
        for node in self._nodes():
            found = self._ctr(node, *words, given=archive).split()[1]
            self._ctr(node, "images", "tag", "--force", found, wanted)
            self._ctr(node, "images", "rm", found)
        self._references.append(wanted)
        return wanted

    def _client(self) -> Any:
        from kubernetes.config import new_client_from_config

        return new_client_from_config(self.kubeconfig)

    def _get(self, path: str) -> Any:
        with self._client() as client:
            response = client.rest_client.GET(
                f"{client.configuration.host}{path}", headers={"Accept": "application/json"}, _request_timeout=30
            )
        return json.loads(response.data)

    def _ctr(self, node: str, *words: str, given: bytes | None = None) -> str:
        return self._testbed("exec", node, "--", "ctr", "--namespace=k8s.io", *words, given=given).decode()

    def _testbed(self, *words: str, given: bytes | None = None) -> bytes:
        command = [ROOT / "bin" / "testbed", "kubernetes", "--name", self.bed, *words]
        done = subprocess.run(command, input=given, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


@functools.cache
def chosen() -> Target:
    """The target that the environment names."""
    name = os.environ.get("MLOPS_TEST_TARGET", "swarm")
    return Kubernetes(os.environ.get("MLOPS_TEST_KUBERNETES_BED", "kubernetes")) if name == "kubernetes" else Swarm()
