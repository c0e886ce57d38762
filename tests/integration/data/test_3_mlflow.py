# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Who may do what in MLflow, its artefacts, its garbage collection, its host names."""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any

import httpx
import pytest
from data_site import PORT, Site

API = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


def ok(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, (response.status_code, response.text[:500])
    return response.json() if response.content else {}


def path_of(uri: str) -> str:
    return uri.removeprefix("mlflow-artifacts:").lstrip("/")


@pytest.fixture(scope="module")
def run(site: Site) -> dict[str, Any]:
    """A run of the registrar's with one artefact, and a model version made of it."""
    with site.mlflow("registrar") as registrar:
        experiment = ok(registrar.post(f"{API}/experiments/create", json={"name": "tests"}))["experiment_id"]
        made = ok(registrar.post(f"{API}/runs/create", json={"experiment_id": experiment}))["run"]["info"]
        content = os.urandom(6 << 20)
        ok(registrar.put(f"{ARTIFACTS}/{path_of(made['artifact_uri'])}/model/weights.bin", content=content))
        ok(registrar.post(f"{API}/registered-models/create", json={"name": "tests"}))
        version = {"name": "tests", "source": f"{made['artifact_uri']}/model", "run_id": made["run_id"]}
        ok(registrar.post(f"{API}/model-versions/create", json=version))
    return {**made, "experiment": experiment, "sha256": hashlib.sha256(content).hexdigest()}


def test_nobody_gets_in_without_the_right_password(site: Site) -> None:
    search = f"{API}/experiments/search?max_results=1"
    for client in (site.mlflow(None), site.mlflow("admin", "password1234"), site.mlflow("serving", "x" * 32)):
        with client:
            assert client.get(search).status_code == 401
    with site.mlflow("admin") as admin:
        ok(admin.get(search))
        users = {user["username"]: user for user in ok(admin.get(f"{API}/users/list"))["users"]}
    assert {name for name, user in users.items() if user["is_admin"]} == {"admin"}
    assert set(users) == {"admin", "registrar", "serving", "gc", "drift", "archive", "lifecycle", "pipelines", "images"}


def test_serving_reads_and_does_nothing_else(site: Site, run: dict[str, Any]) -> None:
    weights = f"{ARTIFACTS}/{path_of(run['artifact_uri'])}/model/weights.bin"
    with site.mlflow("serving") as serving:
        version = ok(serving.get(f"{API}/model-versions/get", params={"name": "tests", "version": "1"}))
        assert version["model_version"]["status"] == "READY"
        stored = serving.get(weights)
        assert hashlib.sha256(stored.content).hexdigest() == run["sha256"]
        alias = {"name": "tests", "alias": "champion", "version": "1"}
        refusals = {
            "experiment": serving.post(f"{API}/experiments/create", json={"name": "s"}),
            "model": serving.post(f"{API}/registered-models/create", json={"name": "s"}),
            "version": serving.post(
                f"{API}/model-versions/create", json={"name": "tests", "source": run["artifact_uri"]}
            ),
            "run": serving.post(f"{API}/runs/create", json={"experiment_id": run["experiment"]}),
            "alias": serving.post(f"{API}/registered-models/alias", json=alias),
            "upload": serving.put(weights, content=b"x"),
            "removal": serving.delete(weights),
            "user": serving.post(f"{API}/users/create", json={"username": "s", "password": "s" * 16}),
        }
    assert {name: answer.status_code for name, answer in refusals.items()} == dict.fromkeys(refusals, 403)


def test_registrar_is_no_administrator(site: Site, run: dict[str, Any]) -> None:
    with site.mlflow("registrar") as registrar:
        ok(
            registrar.post(
                f"{API}/registered-models/alias", json={"name": "tests", "alias": "champion", "version": "1"}
            )
        )
        user = registrar.post(f"{API}/users/create", json={"username": "r", "password": "r" * 16})
        assert user.status_code == 403
        admin = registrar.patch(f"{API}/users/update-admin", json={"username": "registrar", "is_admin": True})
        assert admin.status_code == 403
        other = {"username": "serving", "password": "r" * 16}
        assert registrar.patch(f"{API}/users/update-password", json=other).status_code == 403
    with site.mlflow("serving") as serving:
        assert serving.get(f"{API}/users/list").status_code == 403


def test_the_accounts_are_out_of_the_collectors_reach(site: Site) -> None:
    """Garbage collection has a database user of its own, for the tracking database's rows."""
    code = """
import json, psycopg2
password = open('/run/secrets/mlflow_gc_db_password').read()
def attempt(database, statement):
    try:
        with psycopg2.connect(host='postgresql', user='mlflow_gc', dbname=database, password=password) as connection:
            connection.cursor().execute(statement)
            return 'allowed'
    except psycopg2.Error as error:
        return type(error).__name__
print(json.dumps([
    attempt('mlflow', 'select 1 from runs limit 1'),
    attempt('mlflow', 'create table public.t (a int)'),
    attempt('mlflow_auth', 'select 1'),
]))
"""
    assert site.python("mlflow-gc", code) == ["allowed", "InsufficientPrivilege", "OperationalError"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("mlflow.localhost", 200),
        ("mlflow.localhost:8080", 200),
        ("mlflow:5000", 200),
        ("mlflow", 200),
        ("evil.example.org", 403),
        ("mlflow.localhost.example.org", 403),
    ],
)
def test_host_names(site: Site, host: str, status: int) -> None:
    with site.mlflow("serving") as client:
        answer = client.get(f"{API}/registered-models/search", headers={"Host": host})
    assert answer.status_code == status


def test_pages_of_other_origins_write_nothing(site: Site) -> None:
    with site.mlflow("registrar") as client:
        answers = [
            client.post(f"{API}/registered-models/create", json={"name": name}, headers={"Origin": origin}).status_code
            for name, origin in (("o1", "http://evil.example.org"), ("o2", f"http://127.0.0.1:{PORT}"))
        ]
    assert answers == [403, 200]


def objects(site: Site, prefix: str) -> int:
    code = f"""
import json, boto3
s3 = boto3.client('s3', endpoint_url='http://seaweedfs:8333',
                  aws_access_key_id=open('/run/secrets/mlflow_s3_access_key').read(),
                  aws_secret_access_key=open('/run/secrets/mlflow_s3_secret_key').read())
print(json.dumps(s3.list_objects_v2(Bucket='mlflow', Prefix={prefix!r})['KeyCount']))
"""
    return int(site.python("mlflow", code))


def test_deleted_runs_are_collected_with_their_artefacts(site: Site, run: dict[str, Any]) -> None:
    with site.mlflow("registrar") as registrar, site.mlflow("admin") as admin:
        made = [
            ok(registrar.post(f"{API}/runs/create", json={"experiment_id": run["experiment"]}))["run"]["info"]
            for _ in range(2)
        ]
        for info in made:
            ok(registrar.put(f"{ARTIFACTS}/{path_of(info['artifact_uri'])}/a.txt", content=b"artefact"))
        gone, kept = made
        ok(admin.post(f"{API}/runs/delete", json={"run_id": gone["run_id"]}))
        assert objects(site, path_of(gone["artifact_uri"])) == 1
        time.sleep(2)
        status, output = site.run(
            "mlflow-gc", "mlflow-entrypoint", "collect", "--once", environment={"MLOPS_GC_OLDER_THAN": "1s"}
        )
        assert status == 0, output
        assert admin.get(f"{API}/runs/get", params={"run_id": gone["run_id"]}).status_code == 404
        assert ok(registrar.get(f"{API}/runs/get", params={"run_id": kept["run_id"]}))["run"]
    assert objects(site, path_of(gone["artifact_uri"])) == 0
    assert objects(site, path_of(kept["artifact_uri"])) == 1


def test_collector_keeps_to_its_schedule(site: Site) -> None:
    assert site.healthy("mlflow-gc")
    logs = site.container("mlflow-gc").logs().decode()
    assert "next collection at" in logs
    status, output = site.run(
        "mlflow-gc", "mlflow-entrypoint", "collect", environment={"MLOPS_GC_SCHEDULE": "at night"}
    )
    assert status != 0
    assert "MLOPS_GC_SCHEDULE" in output
