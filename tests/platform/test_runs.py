# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Flow runs as jobs of a cluster of several hosts: one wants what a single node offers, another one's node is lost."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from beds import bed_of, settled, stopped
from installed import Platform
from kubernetes_site import KubernetesSite
from pipelines import Pipelines
from swarm_site import SwarmSite

NODE_LABEL = {"swarm": "mlops.host", "kubernetes": "kubernetes.io/hostname"}
MISSED = 600
"""Seconds for a lost node's run to be known as crashed. Server, agent and worker may have to move first."""


@dataclass(frozen=True)
class Offer:
    """A made-up device: the name of the resource, and the one node that has one."""

    resource: str
    node: str


def offer_of_swarm(site: SwarmSite) -> Offer:
    """As the inventory says, by `swarm_cluster_generic_resources`."""
    [node] = [
        node
        for node in site.manager.nodes.list()
        if "fpga" in str(node.attrs["Description"]["Resources"].get("GenericResources"))
    ]
    return Offer("fpga", node.attrs["Spec"]["Labels"]["mlops.host"])


def offer_of_kubernetes(site: KubernetesSite) -> Offer:
    """As its administrator says; a plug-in of the device would."""
    offer = Offer("mlops.test/fpga", site.ask("/api/v1/nodes")["items"][-1]["metadata"]["name"])
    path = f"/status/capacity/{offer.resource.replace('/', '~1')}"
    change = [{"op": "add", "path": path, "value": "1"}]
    site.ask(f"/api/v1/nodes/{offer.node}/status", "PATCH", change, "application/json-patch+json")
    return offer


@pytest.fixture(scope="module")
def offer(platform: Platform) -> Offer:
    bed_of(platform)
    site = platform.site
    return offer_of_kubernetes(site) if isinstance(site, KubernetesSite) else offer_of_swarm(site)


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


def test_a_run_is_placed_where_its_resource_is(offer: Offer, run: Pipelines) -> None:
    run.begin(3, generic={offer.resource: 1})
    run.finish(3)
    said = run.logs(run.run()["id"])
    assert f"Its job runs on {offer.node}" in said, said


def test_a_second_one_waits_for_it_with_the_reason(offer: Offer, run: Pipelines) -> None:
    """Of one device, that is; nobody has two."""
    run.begin(0, {"CRASHED"}, generic={offer.resource: 2}, pending_timeout=15)
    told = run.run()["state"]["message"]
    assert "didn't start within 15 seconds" in told and "nsufficient" in told, told


def test_a_run_whose_node_is_lost_has_crashed(platform: Platform, run: Pipelines) -> None:
    bed = bed_of(platform)
    # Not the host of the gateway that is asked, or the API server's, nor the data's.
    home = platform.site.home("postgresql")
    free = [node for node in bed.nodes[1:] if node.name != home]
    if not free:
        pytest.skip(f"the only node that may be lost has the database: {home}")
    lost: Any = free[-1]
    run.begin(3000, node_labels={NODE_LABEL[platform.facts["target"]]: lost.name})
    with stopped(bed, lost):
        seconds = run.wait_for({"CRASHED"}, MISSED)
        told = run.run()["state"]["message"]
    assert "Its job was lost" in told and lost.name in told, told
    print(f"BAR the node of a run stopped hard: marked as crashed after {seconds:.0f} s: {told}")
    settled(platform)
