# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Flow runs as jobs of a cluster of several hosts: one wants what a single node offers, another one's node is lost."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from beds import bed_of, settled, stopped
from installed import Platform
from kubernetes_site import KubernetesSite
from pipelines import Pipelines
from swarm_site import SwarmSite

NODE_LABEL = {"swarm": "mlops.host", "kubernetes": "kubernetes.io/hostname"}
MISSED = 600
"""Seconds for a lost node's run to be known as crashed. Server, agent and worker may have to move first, for
which Kubernetes takes five minutes."""


class Places:
    """What the tests have to know of nodes, on either target."""

    resource: str
    """Of which one node has one."""
    offering: str
    """That node's name."""

    def database(self) -> str:
        """The node that has the database."""
        raise NotImplementedError


class SwarmPlaces(Places):
    resource = "fpga"

    def __init__(self, site: SwarmSite) -> None:
        self._site = site
        for node in site.manager.nodes.list():
            offered = node.attrs["Description"]["Resources"].get("GenericResources") or []
            if any(self.resource in str(item) for item in offered):
                self.offering = node.attrs["Spec"]["Labels"]["mlops.host"]

    def database(self) -> str:
        [task] = self._site.service("postgresql").tasks({"desired-state": "running"})
        return str(self._site.manager.nodes.get(task["NodeID"]).attrs["Spec"]["Labels"]["mlops.host"])


class KubernetesPlaces(Places):
    """A node of Kubernetes is told by its administrator what it offers, or by a plug-in of the device."""

    resource = "mlops.test/fpga"

    def __init__(self, site: KubernetesSite) -> None:
        self._site = site
        nodes = [node["metadata"]["name"] for node in site.ask("/api/v1/nodes")["items"]]
        self.offering = nodes[-1]
        path = self.resource.replace("/", "~1")
        offer = [{"op": "add", "path": f"/status/capacity/{path}", "value": "1"}]
        site.ask(f"/api/v1/nodes/{self.offering}/status", "PATCH", offer, "application/json-patch+json")

    def database(self) -> str:
        return str(self._site.pod("postgresql")["spec"]["nodeName"])


@pytest.fixture(scope="module")
def places(platform: Platform) -> Places:
    bed_of(platform)
    return SwarmPlaces(platform.site) if isinstance(platform.site, SwarmSite) else KubernetesPlaces(platform.site)


@pytest.fixture
def run(platform: Platform) -> Iterator[Pipelines]:
    login = f"admin:{platform.secrets['secrets.prefect_admin_password']}"
    pool = Pipelines(platform.gateway, login).api("GET", "/work_pools/cluster")
    assert pool["type"] == "mlops-agent"
    made = Pipelines(platform.gateway, login, f"runs-{secrets.token_hex(6)}", pool["name"])
    try:
        yield made
    finally:
        made.remove()


def test_a_run_is_placed_where_its_resource_is(places: Places, run: Pipelines) -> None:
    run.begin(3, generic={places.resource: 1})
    run.finish(3)
    said = run.logs(run.run()["id"])
    assert f"Its job runs on {places.offering}" in said, said


def test_a_second_one_waits_for_it_with_the_reason(places: Places, run: Pipelines) -> None:
    """Of one device, that is; nobody has two."""
    run.begin(0, {"CRASHED"}, generic={places.resource: 2}, pending_timeout=15)
    told = run.run()["state"]["message"]
    assert "didn't start within 15 seconds" in told and "nsufficient" in told, told


def test_a_run_whose_node_is_lost_has_crashed(platform: Platform, places: Places, run: Pipelines) -> None:
    bed = bed_of(platform)
    # Not the host of the gateway that is asked, or the API server's, nor the data's.
    free = [node for node in bed.nodes[1:] if node.name != places.database()]
    if not free:
        pytest.skip(f"the only node that may be lost has the database: {places.database()}")
    lost: Any = free[-1]
    run.begin(3000, node_labels={NODE_LABEL[platform.facts["target"]]: lost.name})
    with stopped(bed, lost):
        seconds = run.wait_for({"CRASHED"}, MISSED)
        told = run.run()["state"]["message"]
    assert "Its job was lost" in told and lost.name in told, told
    print(f"BAR the node of a run stopped hard: marked as crashed after {seconds:.0f} s: {told}")
    settled(platform)
