# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""On Kubernetes, something happens while site.yml runs: a Pod is deleted, a node drained, the API server restarted.

Each run has something to do (a variable of a workload's environment changes). It ends well or says why not, and the
next one, with nothing in its way, converges.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from beds import bed_of
from installed import ROOT, Platform, Run, wait_for
from kubernetes_site import KubernetesSite, workload_of


def change(workload: str, value: str) -> tuple[str, str]:
    """Arguments of a run that has to replace the workload's Pods."""
    variable = {"gateway": "gateway_overrides", "postgresql": "postgresql_overrides"}.get(workload, "mlflow_overrides")
    return "-e", json.dumps({variable: {workload: {"env": {"MLOPS_TEST": value}}}})


def disturbed(platform: Platform, arguments: tuple[str, ...], begun: Callable[[], Any], act: Callable[[], Any]) -> Run:
    """A run of site.yml in which something happens as soon as a condition holds."""
    started = time.monotonic()
    process = platform.start(*arguments)
    try:
        wait_for(lambda: begun() or process.poll() is not None, seconds=600, what="the run is at the workloads")
        assert process.poll() is None, "the run was over before anything could happen"
        act()
        output, _ = process.communicate(timeout=900)
    finally:
        process.kill()
    return Run(process.returncode, output, time.monotonic() - started)


def converges(platform: Platform) -> None:
    done = platform.playbook()
    assert done.code == 0, done.end
    done = platform.playbook(name="health")
    assert done.code == 0, done.end


def replaced(site: KubernetesSite, workload: str) -> Callable[[], bool]:
    """Whether the workload's Pods are being replaced: one is there that wasn't."""
    before = {pod["metadata"]["uid"] for pod in site.pods() if workload_of(pod) == workload}

    def begun() -> bool:
        return bool({pod["metadata"]["uid"] for pod in site.pods() if workload_of(pod) == workload} - before)

    return begun


def delete(site: KubernetesSite, workload: str) -> None:
    for pod in site.pods():
        if workload_of(pod) == workload:
            place = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
            site.ask(f"{place}?gracePeriodSeconds=0", "DELETE")


def cordon(site: KubernetesSite, node: str, on: bool) -> None:
    body = {"spec": {"unschedulable": on or None}}
    site.ask(f"/api/v1/nodes/{node}", "PATCH", body, "application/merge-patch+json")


def drain(site: KubernetesSite, node: str) -> None:
    cordon(site, node, True)
    for pod in site.pods():
        if pod["spec"].get("nodeName") == node:
            metadata = pod["metadata"]
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": metadata["name"]}}
            wait_for(
                lambda m=metadata, e=eviction: evicted(site, m, e), seconds=60, what=f"{metadata['name']} is evicted"
            )


def evicted(site: KubernetesSite, metadata: dict[str, Any], eviction: dict[str, Any]) -> bool:
    """A disruption budget may refuse for a while, which raises."""
    place = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
    pod = site.find(place)
    if pod is None or pod["metadata"].get("deletionTimestamp"):
        return True
    site.ask(f"{place}/eviction", "POST", eviction)
    return True


def test_pods_are_deleted_meanwhile(platform: Platform, kubernetes: KubernetesSite) -> None:
    begun = replaced(kubernetes, "mlflow")

    def act() -> None:
        delete(kubernetes, "mlflow")
        delete(kubernetes, "postgresql")

    run = disturbed(platform, change("mlflow", "pods"), begun, act)
    assert run.code == 0, run.end
    print(f"BAR Pods of MLflow and its database deleted during a run: it ends well after {run.seconds:.0f} s")
    converges(platform)


def test_a_node_is_drained_meanwhile(platform: Platform, kubernetes: KubernetesSite) -> None:
    home = kubernetes.pod("postgresql")["spec"]["nodeName"]
    nodes = [node["metadata"]["name"] for node in kubernetes.ask("/api/v1/nodes")["items"]]
    if len(nodes) < 2:
        pytest.skip("needs two nodes")
    # Not the data's: their volumes can't follow.
    node = next(name for name in nodes if name != home)
    begun = replaced(kubernetes, "mlflow")
    try:
        arguments = (*change("mlflow", "drained"), "-e", "workload_wait_timeout=60")
        run = disturbed(platform, arguments, begun, lambda: drain(kubernetes, node))
        # The gateway has a replica on each node, by its ports: one has nowhere to go now.
        if run.code:
            assert ("gateway" in run.output and node in run.output) or "unschedulable" in run.output.lower(), run.end
        outcome = "ends well" if run.code == 0 else "fails with the reason"
        print(f"BAR a node drained during a run: it {outcome} after {run.seconds:.0f} s")
    finally:
        cordon(kubernetes, node, False)
    converges(platform)


def test_the_api_server_is_restarted_meanwhile(platform: Platform, kubernetes: KubernetesSite) -> None:
    bed = bed_of(platform)
    testbed = [str(ROOT / "bin" / "testbed"), "kubernetes", "--name", bed.name]
    begun = replaced(kubernetes, "mlflow")

    def act() -> None:
        subprocess.run([*testbed, "restart", "node1", "kube-apiserver"], check=True, capture_output=True)

    run = disturbed(platform, change("mlflow", "restarted"), begun, act)
    assert run.code == 0, run.end
    print(f"BAR the API server restarted during a run: it ends well after {run.seconds:.0f} s")
    converges(platform)
    done = platform.playbook()
    assert (done.code, done.changed) == (0, {"0"}), done.end
