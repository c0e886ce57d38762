# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Wrong variables of the whole platform: each one named, all in one run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COLLECTION = Path(__file__).resolve().parents[3]
ANSIBLE = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local"]
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: "mlops.onprem.{{ item }}", tasks_from: validate}
      loop: [validate, postgresql, object_store, mlflow]
    - ansible.builtin.debug: {msg: "PROBLEMS {{ mlops_problems | to_json }}"}
"""


@pytest.fixture
def problems(tmp_path: Path) -> Any:
    (tmp_path / "play.yml").write_text(PLAYBOOK)

    def run(**variables: Any) -> list[str]:
        process = subprocess.run(
            [*ANSIBLE, "-e", json.dumps(variables), str(tmp_path / "play.yml")],
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(COLLECTION / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(COLLECTION / ".collections"),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            },
        )
        assert process.returncode == 0, process.stdout + process.stderr
        line = next(line for line in process.stdout.splitlines() if "PROBLEMS" in line)
        text = json.loads(line.strip().removeprefix('"msg": '))
        return json.loads(text.removeprefix("PROBLEMS "))

    return run


def test_defaults_are_right(problems: Any) -> None:
    assert problems() == []


def test_all_wrong_variables_are_named_at_once(problems: Any) -> None:
    found = problems(
        mlops_domain="ML.example.org/",
        mlops_components=["mlflow", "oracle", "postgresql"],
        mlops_database_provider="oracle",
        mlops_broker_provider="rabbitmq",
        postgresql_data_size="much",
        object_store_volume_size_mb=3,
        mlflow_workers=0,
        mlflow_default_permission="SOME",
        mlflow_cpu_limit="many",
        mlflow_overrides=[],
        mlflow_gc_older_than="a month",
        mlflow_gc_schedule="nightly",
        mlflow_users=[{"name": "admin"}],
    )
    named = [message.split(":")[0] for message in found]
    assert sorted(named) == sorted(
        [
            "mlops_domain",
            "mlops_components",
            "mlops_components",
            "mlops_database_provider",
            "mlops_broker_provider",
            "postgresql_data_size",
            "object_store_volume_size_mb",
            "mlflow_workers",
            "mlflow_default_permission",
            "mlflow_cpu_limit",
            "mlflow_overrides",
            "mlflow_gc_older_than",
            "mlflow_gc_schedule",
            "mlflow_users",
        ]
    ), found


@pytest.mark.parametrize("domain", ["localhost", "ml.example.org", "a-b.c1"])
def test_domains(problems: Any, domain: str) -> None:
    assert problems(mlops_domain=domain) == []


EXTERNAL = {
    "mlops_database_provider": "external",
    "mlops_database_host": "db.example.org",
    "mlops_database_ca": "-----BEGIN CERTIFICATE-----",
    "mlops_object_store_provider": "external",
    "mlops_object_store_endpoint": "https://s3.example.org:9000",
}


def test_services_of_the_sites_own(problems: Any) -> None:
    assert problems(**EXTERNAL) == []
    without_trust = {**EXTERNAL, "mlops_database_ca": "", "mlops_database_sslmode": "require"}
    assert problems(**without_trust, mlops_data_moved=["database"]) == []


def test_wrong_services_of_the_sites_own(problems: Any) -> None:
    found = problems(
        mlops_database_provider="external",
        mlops_database_host="postgresql://db",
        mlops_database_port=0,
        mlops_database_sslmode="prefer",
        mlops_database_ca="-----BEGIN PRIVATE KEY-----",
        mlops_database_names={"mlflow": "same", "mlflow_auth": "same", "elsewhere": "x"},
        mlops_database_users={"mlflow": "no name"},
        mlops_database_admin_user="the admin",
        mlops_object_store_provider="external",
        mlops_object_store_endpoint="http://s3.example.org/path",
        mlops_object_store_region="here and there",
        mlops_object_store_ca="/nowhere.pem",
        mlops_object_store_buckets={"mlflow": "UPPER"},
        mlops_data_moved="database",
        object_store_identities=[{"name": "x"}],
    )
    named = [message.split(":")[0] for message in found]
    assert sorted(named) == [
        "mlops_data_moved",
        "mlops_database_admin_user",
        "mlops_database_ca",
        "mlops_database_host",
        "mlops_database_names",
        "mlops_database_names",
        "mlops_database_port",
        "mlops_database_sslmode",
        "mlops_database_users",
        "mlops_object_store_buckets",
        "mlops_object_store_ca",
        "mlops_object_store_ca",
        "mlops_object_store_endpoint",
        "mlops_object_store_region",
        "object_store_identities",
    ], found


def test_a_place_without_its_provider(problems: Any) -> None:
    found = problems(mlops_database_host="db.example.org", mlops_object_store_endpoint="https://s3.example.org")
    assert [message.split(":")[0] for message in found] == ["mlops_database_host", "mlops_object_store_endpoint"]
