# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Installed by the roles: what a second run does, and how the containers are shut in."""

from __future__ import annotations

import pytest
from data_site import NAME, Site

WORKLOADS = ("postgresql", "seaweedfs", "mlflow", "mlflow-gc")


@pytest.fixture(scope="module")
def second_run(site: Site) -> str:
    """All that a second run says when it is told to say everything."""
    return site.converge("-vvv", "--diff")


def test_second_run_changes_nothing(site: Site, second_run: str) -> None:
    assert site.changed(second_run) == 0
    assert site.changed(site.converge("--check")) == 0


@pytest.mark.parametrize("workload", WORKLOADS)
def test_containers_are_shut_in(site: Site, workload: str) -> None:
    container = site.container(workload)
    host, config = container.attrs["HostConfig"], container.attrs["Config"]
    assert config["User"] == "10001:10001"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"] or host["CapDrop"] == ["all"], host["CapDrop"]
    assert not host["CapAdd"]
    assert host["Memory"] > 0
    assert host["NanoCpus"] > 0
    assert config["Healthcheck"]["Test"][0] != "NONE"
    # NoNewPrivileges isn't to be had from this engine's services; capabilities are what counts then.
    status = site.run(workload, "sh", "-c", "grep -E '^Cap(Eff|Bnd|Prm)' /proc/self/status")[1]
    assert {line.split()[1] for line in status.splitlines()} == {"0000000000000000"}, status


def test_at_rest_it_is_small(site: Site) -> None:
    used = {}
    for workload in WORKLOADS:
        stats = site.container(workload).stats(stream=False)["memory_stats"]
        used[workload] = (stats["usage"] - stats["stats"].get("total_inactive_file", 0)) / 2**20
    print({name: f"{value:.0f} MiB" for name, value in used.items()})
    assert sum(used.values()) < 700
    assert used["mlflow-gc"] < 40


def test_no_secret_is_shown(site: Site, second_run: str) -> None:
    services = [s for s in site.client.services.list() if s.name.startswith(f"{NAME}_")]
    shown = {}
    for service in services:
        shown[f"service {service.name}"] = str(service.attrs)
        shown[f"tasks {service.name}"] = str(service.tasks())
        logs = b"".join(service.logs(stdout=True, stderr=True))
        shown[f"logs {service.name}"] = logs.decode(errors="replace")
    for container in site.client.containers.list(all=True, filters={"name": f"{NAME}_"}):
        shown[f"container {container.name}"] = str(container.attrs)
        if container.status == "running":
            shown[f"arguments {container.name}"] = str(container.top(ps_args="-eo pid,args"))
            environment = container.exec_run(["env"])[1]
            shown[f"environment {container.name}"] = environment.decode(errors="replace")
    for item in site.client.api.configs():
        shown[f"config {item['Spec']['Name']}"] = str(item)
    for image in {service.attrs["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] for service in services}:
        shown[f"image {image}"] = str(site.client.api.inspect_image(image)) + str(site.client.api.history(image))
    assert any(name.startswith("arguments") for name in shown)
    values = [line for value in site.secrets.values() for line in value.splitlines() if "-----" not in line]
    found = {(where, value[:4]) for value in values for where, text in shown.items() if value in text}
    assert not found
    assert not [value[:4] for value in values if value in second_run]
