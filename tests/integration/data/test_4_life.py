# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Services move, servers restart, secrets change: the data and the logins stay."""

from __future__ import annotations

from typing import Any

import pytest
from data_site import Site, eventually
from test_3_mlflow import API, ARTIFACTS, ok, path_of

CONTENT = b"kept through everything" * 1000


@pytest.fixture(scope="module")
def run(site: Site) -> dict[str, Any]:
    with site.mlflow("registrar") as registrar:
        experiment = ok(registrar.post(f"{API}/experiments/create", json={"name": "life"}))["experiment_id"]
        made: dict[str, Any] = ok(registrar.post(f"{API}/runs/create", json={"experiment_id": experiment}))["run"][
            "info"
        ]
        ok(registrar.put(f"{ARTIFACTS}/{path_of(made['artifact_uri'])}/kept.bin", content=CONTENT))
    return made


def all_there(site: Site, run: dict[str, Any]) -> bool:
    with site.mlflow("serving") as serving:
        found = ok(serving.get(f"{API}/runs/get", params={"run_id": run["run_id"]}))
        content = serving.get(f"{ARTIFACTS}/{path_of(run['artifact_uri'])}/kept.bin").content
    return found["run"]["info"]["run_id"] == run["run_id"] and content == CONTENT


@pytest.mark.parametrize("workload", ["mlflow", "postgresql", "seaweedfs"])
def test_data_are_there_after_a_move(site: Site, run: dict[str, Any], workload: str) -> None:
    site.replace(workload)
    eventually(lambda: all_there(site, run), f"everything after {workload} moved")


@pytest.mark.parametrize("workload", ["mlflow", "postgresql", "seaweedfs"])
def test_data_are_there_after_a_crash(site: Site, run: dict[str, Any], workload: str) -> None:
    before = site.container(workload)
    before.kill()
    eventually(lambda: site.container(workload).id != before.id, f"another container of {workload}")
    eventually(lambda: all_there(site, run), f"everything after {workload} was killed", 90)


def test_secrets_rotate(site: Site, run: dict[str, Any]) -> None:
    rotated = [
        "postgresql_admin_password",
        "mlflow_db_password",
        "mlflow_gc_db_password",
        "mlflow_admin_password",
        "mlflow_registrar_password",
        "mlflow_serving_password",
        "mlflow_s3_secret_key",
        "mlflow_secret_key",
        "s3_admin_secret_key",
        "object_store_grpc_certificate",
    ]
    before = site.secrets
    output = site.converge(mlops_secrets_rotate=rotated)
    after = site.secrets
    assert {name for name in after if before[name] != after[name]} == set(rotated)
    assert not [name for name in rotated if before[name] in output or after[name] in output]
    eventually(lambda: all_there(site, run), "everything after the rotation")

    def old_ones_are_refused() -> bool:
        found = []
        for user in ("admin", "registrar", "serving"):
            with site.mlflow(user, before[f"mlflow_{user}_password"]) as old, site.mlflow(user) as new:
                search = f"{API}/experiments/search?max_results=1"
                found.append((old.get(search).status_code, new.get(search).status_code))
        return found == [(401, 200)] * 3

    # MLflow remembers a password that was right for half a minute.
    eventually(old_ones_are_refused, "old passwords are refused", 60)


def test_removed_and_installed_again_the_data_are_there(site: Site, run: dict[str, Any]) -> None:
    site.play("absent.yml")
    assert not [s for s in site.client.services.list() if s.name.startswith("t-data_")]
    site.converge()
    assert all_there(site, run)
