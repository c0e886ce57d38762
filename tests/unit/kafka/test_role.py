# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The role's contract and its workloads, as Ansible makes them, and what it says of wrong variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.action.generated_secrets import sealed_certificate
from ansible_collections.mlops.onprem.plugins.module_utils._workload.model import Workload

ROOT = Path(__file__).resolve().parents[3]
ANSIBLE = [sys.executable, "-m", "ansible", "playbook"]
# One run for all cases: each is a host of its own.
PLAYBOOK = """
- hosts: declared
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: mlops.onprem.kafka}
    - ansible.builtin.copy:
        dest: "{{ to }}/declared.json"
        content: >-
          {{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars)
             | map('dict2items') | map('selectattr', 'key', 'in', ['mlops_broker', 'mlops_workloads'])
             | map('items2dict'))) | to_json }}
      run_once: true
- hosts: looked_at
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: mlops.onprem.kafka, tasks_from: validate}
    - ansible.builtin.include_role: {name: mlops.onprem.kafka, tasks_from: preflight}
    - ansible.builtin.copy:
        dest: "{{ to }}/looked_at.json"
        content: >-
          {{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'mlops_problems')))
             | to_json }}
      run_once: true
"""
SECRETS = {f"kafka_{name}_password": name * 8 for name in ("admin", "serving", "drift", "archive", "etl")}
TOPICS = [{"name": "orders", "retention": "1d", "grants": {"etl": ["read"]}}]
EXTERNAL = {"mlops_broker_provider": "external", "mlops_broker_bootstrap": "k1.example.org:9093,k2.example.org:9093"}
DECLARED: dict[str, dict[str, Any]] = {
    "one": {
        "kafka_topics": TOPICS,
        "kafka_users": [{"name": "etl", "grants": [{"groups": "etl*", "rights": ["read"]}]}],
    },
    "three": {"kafka_brokers": 3, "kafka_settings": {"num.partitions": 2}},
    "external": {**EXTERNAL, "mlops_broker_users": {"drift": "ml-drift"}},
    "administered": {**EXTERNAL, "mlops_broker_admin_user": "ml-admin", "kafka_topics": [{"name": "orders"}]},
}
WRONG = {
    "mlops_topic_prefix": "all predictions",
    "kafka_brokers": 2,
    "kafka_retention": "a week",
    "kafka_partition_bytes": 5,
    "kafka_data_size": "much",
    "kafka_memory_limit": "much",
    "kafka_heap": "half",
    "kafka_cpu_limit": "all",
    "kafka_settings": {"ssl.client.auth": "none"},
    "kafka_users": [{"name": "drift"}, {"name": "an etl"}],
    "kafka_topics": [{"name": "a b"}, {"name": "x", "retention": "1y", "grants": {"nobody": ["read"]}}, {"name": "x"}],
    "kafka_overrides": [],
    "mlops_broker_bootstrap": "kafka:9092",
}
WRONG_EXTERNAL = {
    "mlops_broker_provider": "external",
    "mlops_broker_bootstrap": "kafka://k1",
    "mlops_broker_ca": "/nowhere.pem",
    "mlops_broker_users": {"grafana": "no name"},
    "mlops_broker_admin_user": "the admin",
    "kafka_users": [{"name": "etl"}],
}
ONE, THREE = [{"name": "kafka"}], [{"name": f"kafka-{number}"} for number in (1, 2, 3)]
ELSEWHERE = [{"name": "drift-detector", "labels": {"broker": "k1.example.org:9093"}}]
LOOKED_AT: dict[str, tuple[dict[str, Any], list[str]]] = {
    "defaults": ({}, []),
    "wrong": (WRONG, [*WRONG, "kafka_users", *["kafka_topics"] * 3]),
    "wrong-external": (WRONG_EXTERNAL, [*list(WRONG_EXTERNAL)[1:], "mlops_broker_users"]),
    "same": ({"mlops_deployed": THREE, "kafka_brokers": 3}, []),
    "grown": ({"mlops_deployed": ONE, "kafka_brokers": 3}, ["kafka_brokers"]),
    "shrunk": ({"mlops_deployed": THREE}, ["kafka_brokers"]),
    "moved": ({"mlops_deployed": ONE, "kafka_brokers": 3, "mlops_data_moved": ["broker"]}, []),
    "elsewhere": ({"mlops_deployed": ELSEWHERE}, ["mlops_broker_provider"]),
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the role hands on, or finds wrong, by case."""
    folder = tmp_path_factory.mktemp("role")
    (folder / "play.yml").write_text(PLAYBOOK)
    common = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "mlops_secret_values": {**SECRETS, "kafka_certificate": sealed_certificate(["kafka"])},
        "to": str(folder),
    }
    looked_at = {name: {"mlops_deployed": [], **variables} for name, (variables, _named) in LOOKED_AT.items()}
    groups = {
        "declared": {"hosts": DECLARED},
        "looked_at": {"hosts": {f"look-{key}": looked_at[key] for key in looked_at}},
    }
    (folder / "hosts.json").write_text(json.dumps({"all": {"vars": common, "children": groups}}))
    process = subprocess.run(
        [*ANSIBLE, "-i", str(folder / "hosts.json"), "-f", "1", str(folder / "play.yml")],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        },
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in groups}


def declared(outcome: dict[str, Any], case: str) -> tuple[Any, dict[str, Workload], dict[str, Any]]:
    found = outcome["declared"][case]
    raw = {item["name"]: item for item in found.get("mlops_workloads", [])}
    return found["mlops_broker"], {name: Workload.from_dict(item) for name, item in raw.items()}, raw


def test_one_broker(outcome: dict[str, Any]) -> None:
    broker, workloads, raw = declared(outcome, "one")
    assert set(workloads) == {"kafka", "kafka-topics"}
    assert broker["bootstrap"] == "kafka:9092"
    assert (broker["workloads"], broker["after"]) == (["kafka"], ["kafka-topics"])
    assert broker["env"] == {
        "MLOPS_BROKER": "kafka:9092",
        "MLOPS_BROKER_CA": "/etc/mlops/broker-ca.pem",
        "MLOPS_TOPIC_PREFIX": "predictions.",
    }
    assert broker["users"]["drift"]["env"]["MLOPS_BROKER_USERNAME"] == "drift"
    assert broker["users"]["drift"]["secrets"] == [{"name": "kafka_drift_password"}]
    assert [config["path"] for config in broker["configs"]] == ["/etc/mlops/broker-ca.pem"]
    assert "PRIVATE KEY" not in json.dumps(broker)
    # The broker knows no password: changing one doesn't start it anew.
    assert [secret.name for secret in workloads["kafka"].secrets] == ["kafka_certificate"]
    job = raw["kafka-topics"]
    assert json.loads(job["env"]["MLOPS_TOPICS"]) == TOPICS
    assert [user["name"] for user in json.loads(job["env"]["MLOPS_USERS"])] == [
        "admin",
        "serving",
        "drift",
        "archive",
        "etl",
    ]
    assert {"name": "kafka_etl_password"} in job["secrets"]
    assert not any(value in json.dumps(raw) for value in SECRETS.values())


def test_three_brokers_know_each_other(outcome: dict[str, Any]) -> None:
    broker, workloads, _raw = declared(outcome, "three")
    assert broker["bootstrap"] == "kafka-1:9092,kafka-2:9092,kafka-3:9092"
    assert workloads["kafka-2"].connects == ("kafka-1", "kafka-3")
    assert workloads["kafka-2"].env["KAFKA_NAME"] == "kafka-2"
    assert workloads["kafka-2"].env["KAFKA_BROKERS"] == "kafka-1,kafka-2,kafka-3"
    assert json.loads(workloads["kafka-3"].env["KAFKA_PROPERTIES"])["num.partitions"] == 2
    assert set(workloads["kafka-topics"].connects) == {"kafka-1", "kafka-2", "kafka-3"}


def test_the_sites_own_brokers(outcome: dict[str, Any]) -> None:
    broker, workloads, _raw = declared(outcome, "external")
    assert workloads == {}
    assert (broker["workloads"], broker["after"]) == ([], [])
    assert broker["egress"] == [{"host": f"k{number}.example.org", "port": 9093} for number in (1, 2)]
    assert broker["env"]["MLOPS_BROKER_CA"] == "/etc/ssl/certs/ca-certificates.crt"
    assert broker["users"]["drift"]["username"] == "ml-drift"
    assert broker["job"] == {}
    broker, workloads, raw = declared(outcome, "administered")
    assert (broker["workloads"], broker["after"]) == ([], ["kafka-topics"])
    assert "MLOPS_USERS" not in raw["kafka-topics"]["env"]
    assert raw["kafka-topics"]["env"]["MLOPS_BROKER_USERNAME"] == "ml-admin"
    assert [item.host for item in workloads["kafka-topics"].egress] == ["k1.example.org", "k2.example.org"]


@pytest.mark.parametrize("case", list(LOOKED_AT))
def test_what_is_wrong_is_named_at_once(outcome: dict[str, Any], case: str) -> None:
    """And a stream that would be left behind is no matter of course."""
    found = outcome["looked_at"][f"look-{case}"]
    assert sorted(problem.split(":")[0] for problem in found) == sorted(LOOKED_AT[case][1]), found
