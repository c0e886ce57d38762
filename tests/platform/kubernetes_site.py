# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A platform on Kubernetes, seen through the API server; its registry through this machine's engine."""

from __future__ import annotations

import copy
import json
from collections.abc import ItemsView, Iterator
from pathlib import Path
from typing import Any

import docker
import kubernetes
from sites import BESIDE, IMMUTABLE, Site, wait_for

READABLE = (
    "/api/v1/{}/pods",
    "/api/v1/{}/services",
    "/api/v1/{}/configmaps",
    "/api/v1/{}/persistentvolumeclaims",
    "/api/v1/{}/serviceaccounts",
    "/api/v1/{}/events",
    "/apis/apps/v1/{}/deployments",
    "/apis/apps/v1/{}/replicasets",
    "/apis/apps/v1/{}/statefulsets",
    "/apis/apps/v1/{}/controllerrevisions",
    "/apis/batch/v1/{}/jobs",
    "/apis/networking.k8s.io/v1/{}/networkpolicies",
    "/apis/policy/v1/{}/poddisruptionbudgets",
    "/apis/rbac.authorization.k8s.io/v1/{}/roles",
    "/apis/rbac.authorization.k8s.io/v1/{}/rolebindings",
    "/apis/discovery.k8s.io/v1/{}/endpointslices",
)


class KubernetesSite(Site):
    def __init__(self, name: str, kubeconfig: str, context: str, registry: str) -> None:
        self.name = name
        self.namespaces = [name, f"{name}-edge"]
        self.registry = registry
        self._client = kubernetes.config.new_client_from_config(kubeconfig or None, context or None)

    @classmethod
    def of(cls, facts: dict[str, Any]) -> KubernetesSite:
        cluster = facts["cluster"]
        return cls(facts["name"], cluster["kubeconfig"], cluster["context"], facts["registry"])

    def ask(self, path: str, method: str = "GET", body: Any = None, content: str = "application/json") -> Any:
        """The API server's answer, parsed where it is JSON; its warnings are kept in ``warnings``."""
        headers = {"Accept": "application/json, */*", "Content-Type": content}
        answer = self._client.call_api(
            path, method, header_params=headers, body=body, auth_settings=["BearerToken"], _preload_content=False
        )
        response = answer[0] if isinstance(answer, tuple) else answer
        self.warnings = response.headers.getlist("Warning") if "Warning" in response.headers else []
        data = response.data
        return json.loads(data) if "json" in response.headers.get("Content-Type", "") else data

    def find(self, path: str) -> Any:
        """None where there is no such thing."""
        try:
            return self.ask(path)
        except kubernetes.client.ApiException as error:
            if error.status == 404:
                return None
            raise

    def items(self, pattern: str) -> list[dict[str, Any]]:
        """Objects of one kind in the platform's namespaces; the pattern has {} in the place of the namespace."""
        found = []
        for namespace in self.namespaces:
            found += self.ask(pattern.format(f"namespaces/{namespace}"))["items"]
        return found

    def pods(self) -> list[dict[str, Any]]:
        """Those that run, without jobs' that have ended."""
        return [pod for pod in self.items("/api/v1/{}/pods") if pod["status"].get("phase") in ("Running", "Pending")]

    def pod(self, workload: str) -> dict[str, Any]:
        return next(pod for pod in self.pods() if workload_of(pod) == workload)

    def running(self) -> dict[str, str]:
        found = {
            f"{pod['metadata']['uid']} {state['name']} {state['restartCount']}": workload_of(pod)
            for pod in self.pods()
            for state in pod["status"].get("containerStatuses", [])
        }
        return found | {container.id: container.name for container in self._beside()}

    def _beside(self, **options: Any) -> list[Any]:
        try:
            engine = docker.from_env(timeout=60)
        except docker.errors.DockerException:
            return []
        found: list[Any] = engine.containers.list(filters={"name": f"^{self.name}-{BESIDE}$"}, **options)
        return found

    def hardening(self) -> list[str]:
        problems = []
        for pod in self.pods():
            name, spec = pod["metadata"]["name"], pod["spec"]
            shared = spec.get("securityContext", {})
            expectations = {
                "has a token of the API": not spec.get("automountServiceAccountToken", True)
                or workload_of(pod) == "agent",
                "shares the node's namespaces": not any(
                    spec.get(field) for field in ("hostNetwork", "hostPID", "hostIPC")
                ),
                "mounts the node's files": not any("hostPath" in volume for volume in spec.get("volumes", [])),
            }
            for container in spec["containers"] + spec.get("initContainers", []):
                own, limits = container.get("securityContext", {}), container.get("resources", {}).get("limits", {})
                user = own.get("runAsUser", shared.get("runAsUser", 0))
                seccomp = own.get("seccompProfile", shared.get("seccompProfile", {})).get("type")
                expectations |= {
                    "runs as root": user != 0 and own.get("runAsNonRoot", shared.get("runAsNonRoot")) is True,
                    "has a writable root": own.get("readOnlyRootFilesystem") is True,
                    "keeps capabilities": own.get("capabilities", {}).get("drop") == ["ALL"]
                    and not own.get("capabilities", {}).get("add"),
                    "is privileged": not own.get("privileged") and own.get("allowPrivilegeEscalation") is False,
                    "has no seccomp profile": seccomp == "RuntimeDefault",
                    "has no memory limit": "memory" in limits,
                    "has no CPU limit": "cpu" in limits,
                    "has no health check": "livenessProbe" in container or pod_of_job(pod),
                    "is named by a tag that may move": IMMUTABLE.search(container["image"]) is not None,
                }
            problems += [f"{name} {what}" for what, held in expectations.items() if not held]
        return problems

    def pod_security(self) -> list[str]:
        """What Pod Security `restricted` says of the Pods that run. The edge's may hold ports of the node, no more."""
        problems = []
        for namespace in self.namespaces:
            labels = self.ask(f"/api/v1/namespaces/{namespace}")["metadata"]["labels"]
            enforced = "restricted" if namespace == self.name else "privileged"
            wanted = {"enforce": enforced, "warn": "restricted", "audit": "restricted"}
            for mode, level in wanted.items():
                if labels.get(f"pod-security.kubernetes.io/{mode}") != level:
                    problems.append(f"{namespace}: {mode} is not {level}")
        for pod in self.pods():
            again = {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": copy.deepcopy(pod["spec"])}
            again["metadata"] = {"generateName": "dry-run-", "labels": pod["metadata"]["labels"]}
            # What the API server has set itself it would not take from us.
            for field in ("nodeName", "topologySpreadConstraints"):
                again["spec"].pop(field, None)
            self.ask(f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods?dryRun=All", "POST", again)
            for warning in self.warnings:
                if pod["metadata"]["namespace"] == self.name or not only_host_ports(warning):
                    problems.append(f"{pod['metadata']['name']}: {warning}")
        return problems

    def open_ways(self) -> list[str]:
        """Pods to which not everything is denied by default but looking up names."""
        problems = []
        for pod in self.pods():
            namespace, labels = pod["metadata"]["namespace"], pod["metadata"]["labels"].items()
            policies = self.ask(f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies")["items"]
            if not any(denies(policy["spec"], labels) for policy in policies):
                problems.append(pod["metadata"]["name"])
        return problems

    def holders(self) -> set[str]:
        return {
            workload_of(pod)
            for pod in self.pods()
            if any("serviceAccountToken" in json.dumps(volume) for volume in pod["spec"].get("volumes", []))
        }

    def memory(self) -> dict[str, float]:
        used = {}
        for node in self.ask("/api/v1/nodes")["items"]:
            stats = self.ask(f"/api/v1/nodes/{node['metadata']['name']}/proxy/stats/summary")
            for pod in stats.get("pods", []):
                if pod["podRef"]["namespace"] in self.namespaces:
                    for container in pod.get("containers", []):
                        name = f"{pod['podRef']['name']} {container['name']}"
                        used[name] = float(container.get("memory", {}).get("workingSetBytes", 0))
        return used

    def objects(self) -> Iterator[tuple[str, Any]]:
        for pattern in READABLE:
            for item in self.items(pattern):
                yield f"{pattern.rpartition('/')[2]} {item['metadata']['name']}", item
        for item in self.items("/api/v1/{}/secrets"):
            yield f"secret {item['metadata']['name']}", {k: v for k, v in item.items() if k != "data"}

    def logs(self) -> Iterator[tuple[str, bytes]]:
        for pod in self.items("/api/v1/{}/pods"):
            metadata = pod["metadata"]
            found = self.find(f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/log")
            yield metadata["name"], found if isinstance(found, bytes) else json.dumps(found).encode()

    def crash(self, workload: str) -> None:
        for pod in self.pods():
            if workload_of(pod) == workload:
                self.ask(pod_path(pod), "DELETE", {"gracePeriodSeconds": 0})

    def home(self, workload: str) -> str:
        return str(self.pod(workload)["spec"]["nodeName"])

    def scale(self, workload: str, replicas: int) -> None:
        place = f"/apis/apps/v1/namespaces/{self.name}/deployments/{workload}/scale"
        self.ask(place, "PATCH", {"spec": {"replicas": replicas}}, "application/merge-patch+json")

        def running() -> bool:
            return len([pod for pod in self.pods() if workload_of(pod) == workload]) == replicas

        wait_for(running, seconds=180, what=f"{workload} runs {replicas} times")

    def left(self) -> list[str]:
        found = [f"namespace {name}" for name in self.namespaces if self.find(f"/api/v1/namespaces/{name}")]
        for volume in self.ask("/api/v1/persistentvolumes")["items"]:
            if volume["spec"].get("claimRef", {}).get("namespace") in self.namespaces:
                found.append(f"volume {volume['metadata']['name']}")
        found += [f"container {container.name}" for container in self._beside(all=True)]
        trusted = Path("/etc/docker/certs.d") / self.registry
        return found + ([f"folder {trusted}"] if trusted.exists() else [])


def workload_of(pod: dict[str, Any]) -> str:
    return str(pod["metadata"].get("labels", {}).get("mlops.onprem/workload", pod["metadata"]["name"]))


def pod_path(pod: dict[str, Any]) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def pod_of_job(pod: dict[str, Any]) -> bool:
    return any(owner["kind"] == "Job" for owner in pod["metadata"].get("ownerReferences", []))


def only_host_ports(warning: str) -> bool:
    """Whether a warning of Pod Security is about ports of the node and nothing else."""
    _, _, reasons = warning.partition("violate PodSecurity")
    return bool(reasons) and reasons.count("(") == 1 and "hostPort" in reasons


def denies(policy: dict[str, Any], labels: ItemsView[str, str]) -> bool:
    """Whether a network policy selects Pods of these labels, lets nobody in, and out to name servers alone."""
    selected = policy.get("podSelector", {})
    return (
        not selected.get("matchExpressions")
        and selected.get("matchLabels", {}).items() <= labels
        and {"Ingress", "Egress"} <= set(policy.get("policyTypes", []))
        and not policy.get("ingress")
        and all({port["port"] for port in way.get("ports", [])} == {53} for way in policy.get("egress", []))
    )
