# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The role prefect: what it declares, the contract that it hands on, and what it says of wrong variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT / ".collections") not in sys.path:
    sys.path.insert(0, str(ROOT / ".collections"))

from ansible_collections.mlops.onprem.plugins.module_utils._workload import parse  # noqa: E402

SECRETS = {name: f"hidden-{name}" for name in ("prefect_admin_password", "prefect_db_password")}
SECRETS |= {"postgresql_admin_password": "hidden-postgresql", "agent_token_pipelines": "hidden-token-of-pipelines"}
PLAY = f"""
- hosts: all
  gather_facts: false
  vars_files: ["{ROOT}/playbooks/vars/platform.yml"]
  tasks:
    - ansible.builtin.set_fact: {{mlops_secret_values: "{{{{ given_secrets }}}}"}}
    - ansible.builtin.include_role: {{name: mlops.onprem.prefect, tasks_from: validate}}
    - ansible.builtin.include_role: {{name: "mlops.onprem.{{{{ item }}}}"}}
      loop: [postgresql, prefect]
      when: mlops_problems | length == 0
    - ansible.builtin.copy:
        content: "{{{{ {{'workloads': mlops_workloads | default([]), 'pipelines': mlops_pipelines | default({{}}),
                   'problems': mlops_problems, 'secrets': mlops_secret_values,
                   'clients': mlops_agent_clients | default({{}})}} | to_json }}}}"
        dest: "{{{{ out }}}}/{{{{ inventory_hostname }}}}"
        mode: "0600"
"""
WRONG: dict[str, Any] = {
    "prefect_work_pools": [{"type": "process"}, {"name": "Prefect's"}, {"name": "Prefect's"}],
    "prefect_worker_pool": "prefect-pool",
    "prefect_worker_type": "thread",
    "prefect_worker_replicas": -1,
    "prefect_worker_runs": 0,
    "prefect_worker_query_seconds": 0,
    "prefect_worker_cpu_limit": 0,
    "prefect_worker_memory_limit": "much",
    "prefect_worker_scratch_size": "some",
    "prefect_run_secrets": "password",
    "prefect_run_egress": [{"host": "pypi.example.org"}],
    "prefect_run_pending_timeout": 0,
    "prefect_overrides": [],
    "prefect_cpu_limit": 0,
    "prefect_memory_limit": "lots",
    "prefect_servers": 0,
    "prefect_log_level": "LOUD",
    "prefect_keep_days": -1,
    "prefect_crashed_after": 30,
    "prefect_allowed_origins": ["pages.example.org"],
    "mlops_pipelines_address": "https://prefect.example.org/api",
}
#: Each is a host of one play: Ansible starts once for all.
SITES: dict[str, dict[str, Any]] = {
    "here": {
        "prefect_keep_days": 30,
        "prefect_overrides": {"prefect-worker": {"egress": [{"host": "pypi.example.org", "port": 443}]}},
    },
    "external": {
        "mlops_pipelines_provider": "external",
        "mlops_pipelines_address": "https://flows.example.org:8443/api/",
        "mlops_pipelines_username": "mlops",
        "mlops_pipelines_ca": "-----BEGIN CERTIFICATE-----\n",
        "prefect_worker_connects": [],
    },
    "cluster": {
        "prefect_worker_type": "cluster",
        "prefect_run_secrets": ["warehouse_password"],
        "prefect_run_egress": [{"host": "pypi.example.org", "port": 443}],
    },
    "several": {"prefect_servers": 3},
    "without_an_agent": {"prefect_worker_type": "cluster", "mlops_components": ["postgresql", "prefect"]},
    "wrong": WRONG,
    "wrong_external": {
        "mlops_pipelines_provider": "external",
        "mlops_pipelines_address": "flows",
        "mlops_pipelines_ca": "/no/such",
        "mlops_pipelines_username": "a:b",
    },
}


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("sites")
    common = {"out": str(folder), "given_secrets": SECRETS, "mlops_domain": "ml.example.org"}
    common |= {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (folder / "hosts.yml").write_text(json.dumps({"mlops_managers": {"hosts": SITES, "vars": common}}))
    (folder / "play.yml").write_text(PLAY)
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", folder / "hosts.yml", folder / "play.yml"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return {name: json.loads((folder / name).read_text()) for name in SITES}


@pytest.fixture(scope="module")
def here(sites: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return sites["here"]


def test_the_seam_takes_what_it_declares(here: dict[str, Any]) -> None:
    assert [workload.name for workload in parse(here["workloads"])] == ["postgresql", "prefect", "prefect-worker"]


def test_the_server_has_its_database_its_login_and_its_public_address(here: dict[str, Any]) -> None:
    server = next(one for one in here["workloads"] if one["name"] == "prefect")
    databases, migration = server["jobs"]
    assert databases["env"]["MLOPS_DATABASES"] == "prefect prefect prefect_db_password owner"
    assert migration["args"] == ["prefect-entrypoint", "migrate"]
    env = server["env"]
    assert migration["env"].items() <= env.items()
    assert env["PREFECT_SERVER_DATABASE_MIGRATE_ON_START"] == "false"
    assert env["PREFECT_SERVER_API_AUTH_STRING_FILE"] == "/run/secrets/prefect_auth_string"
    assert env["PREFECT_SERVER_UI_API_URL"] == "https://prefect.ml.example.org/api"
    assert env["PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"] == "https://prefect.ml.example.org"
    assert env["PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD"] == str(30 * 86400)
    assert server["labels"] == {"database": "postgresql:5432/prefect"}
    assert server["update"]["order"] == "stop-first" and server.get("replicas", 1) == 1


def test_the_worker_talks_to_the_server_and_to_what_runs_need(here: dict[str, Any]) -> None:
    worker = next(one for one in here["workloads"] if one["name"] == "prefect-worker")
    assert worker["args"] == ["prefect-entrypoint", "worker", "default"]
    assert worker["env"]["PREFECT_API_URL"] == "http://prefect:4200/api"
    assert worker["connects"] == ["prefect", "mlflow"]
    assert worker["egress"] == [{"host": "pypi.example.org", "port": 443}]
    assert [secret["name"] for secret in worker["secrets"]] == ["prefect_auth_string", "mlflow_pipelines_password"]


def test_several_servers_meet_in_valkey(sites: dict[str, dict[str, Any]]) -> None:
    found = {workload.name: workload for workload in parse(sites["several"]["workloads"])}
    assert list(found) == ["postgresql", "prefect", "prefect-services", "prefect-valkey", "prefect-worker"]
    server, services, valkey = (found[name] for name in ("prefect", "prefect-services", "prefect-valkey"))
    assert (server.replicas, services.replicas, valkey.replicas) == (3, 1, 1)
    assert server.env == services.env and server.env["VALKEY"] == "prefect-valkey:6379"
    assert server.update.order == "start-first"
    assert server.connects == ("postgresql", "prefect-valkey")
    # It waits for the server, whose jobs make the tables, and has none of its own.
    assert services.connects == (*server.connects, "prefect") and not services.jobs
    for one in (server, services, valkey):
        assert "prefect_valkey_password" in [secret.name for secret in one.secrets]


def test_no_secret_is_declared(here: dict[str, Any]) -> None:
    assert "hidden-" not in json.dumps(here["workloads"])
    assert here["secrets"]["prefect_auth_string"] == "admin:hidden-prefect_admin_password"


def test_its_contract(here: dict[str, Any]) -> None:
    assert here["pipelines"] == {
        "api_url": "http://prefect:4200/api",
        "workload": "prefect",
        "auth_secret": "prefect_auth_string",
        "ca_path": "",
        "egress": [],
        "configs": [],
        "work_pool": "default",
        "pages": "https://prefect.ml.example.org",
    }


def test_the_site_s_own(sites: dict[str, dict[str, Any]]) -> None:
    found = sites["external"]
    assert found["problems"] == []
    _, worker = found["workloads"]
    parse(found["workloads"])
    assert worker["env"]["PREFECT_API_URL"] == found["pipelines"]["api_url"] == "https://flows.example.org:8443/api"
    assert worker["env"]["PREFECT_API_SSL_CERT_FILE"] == worker["configs"][0]["path"]
    assert (worker["connects"], worker["egress"]) == ([], [{"host": "flows.example.org", "port": 8443}])
    assert found["pipelines"]["workload"] == "" and found["pipelines"]["pages"] == "https://flows.example.org:8443"
    assert found["secrets"]["prefect_auth_string"] == "mlops:hidden-prefect_admin_password"


def test_runs_in_the_cluster_are_the_agent_s_and_the_worker_has_little(sites: dict[str, dict[str, Any]]) -> None:
    found = sites["cluster"]
    parse(found["workloads"])
    worker = next(one for one in found["workloads"] if one["name"] == "prefect-worker")
    assert (
        worker["args"] == ["prefect-entrypoint", "worker", "cluster"] and found["pipelines"]["work_pool"] == "cluster"
    )
    assert worker["connects"] == ["prefect", "agent"]
    assert [secret["name"] for secret in worker["secrets"]] == ["prefect_auth_string", "agent_token_pipelines"]
    assert worker["env"]["MLOPS_WORKER_TYPE"] == "mlops-agent"
    assert not [name for name in worker["env"] if name.startswith("MLFLOW")]
    assert found["clients"] == {
        "pipelines": {
            "runs": True,
            "secrets": ["prefect_auth_string", "mlflow_pipelines_password", "warehouse_password"],
            "connects": ["prefect", "mlflow"],
            "egress": ["pypi.example.org:443"],
        }
    }
    assert sites["here"]["clients"] == {}
    assert "hidden-" not in json.dumps(found["workloads"])


def test_runs_in_the_cluster_want_an_agent(sites: dict[str, dict[str, Any]]) -> None:
    [problem] = sites["without_an_agent"]["problems"]
    assert problem.startswith("prefect_worker_type: cluster needs the component agent")


def test_everything_wrong_is_said_at_once_by_the_variables_name(sites: dict[str, dict[str, Any]]) -> None:
    problems = [problem.split(":")[0] for problem in sites["wrong"]["problems"]]
    assert problems == ["prefect_work_pools", *WRONG]


def test_what_is_wrong_with_the_site_s_own(sites: dict[str, dict[str, Any]]) -> None:
    assert [problem.split(":")[0] for problem in sites["wrong_external"]["problems"]] == [
        "mlops_pipelines_address",
        "mlops_pipelines_ca",
        "mlops_pipelines_username",
    ]
