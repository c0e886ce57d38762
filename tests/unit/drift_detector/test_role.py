# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The role's workloads, as Ansible makes them of the broker's contract, and what it says of wrong variables."""

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

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: mlops.onprem.drift_detector, tasks_from: validate}
    - ansible.builtin.include_role: {name: mlops.onprem.drift_detector}
      when: mlops_problems | length == 0
    - ansible.builtin.copy:
        dest: "{{ to }}"
        content: "{{ {'problems': mlops_problems, 'workloads': mlops_workloads | default([])} | to_json }}"
        mode: "0600"
"""


def user(name: str) -> dict[str, Any]:
    secret = f"kafka_{name}_password"
    env = {"MLOPS_BROKER_USERNAME": name, "MLOPS_BROKER_PASSWORD_FILE": f"/run/secrets/{secret}"}
    return {"username": name, "env": env, "secrets": [{"name": secret}]}


#: The fact ``mlops_broker``, as the role kafka makes it of one broker.
BROKER: dict[str, Any] = {
    "bootstrap": "kafka:9092",
    "workloads": ["kafka", "kafka-topics"],
    "egress": [],
    "prefix": "stream.",
    "env": {
        "MLOPS_BROKER": "kafka:9092",
        "MLOPS_BROKER_CA": "/etc/mlops/broker-ca.pem",
        "MLOPS_TOPIC_PREFIX": "stream.",
    },
    "configs": [{"path": "/etc/mlops/broker-ca.pem", "content": "-----BEGIN CERTIFICATE-----"}],
    "labels": {"broker": "kafka:9092"},
    "users": {name: user(name) for name in ("serving", "drift", "archive")},
    "job": {
        "image": "kafka",
        "kind": "job",
        "args": ["mlops-kafka", "topics"],
        "env": {"MLOPS_BROKER": "kafka:9093"},
        "secrets": [{"name": "kafka_certificate"}],
        "connects": ["kafka"],
    },
}
OUTSIDE = {"host": "kafka.example.org", "port": 9093}
EXTERNAL = BROKER | {"bootstrap": "kafka.example.org:9093", "workloads": [], "egress": [OUTSIDE], "job": {}}


def play(folder: Path, **variables: Any) -> Any:
    (folder / "play.yml").write_text(PLAY)
    given = {"to": str(folder / "out.json"), "ansible_python_interpreter": sys.executable, **variables}
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", "-e", json.dumps(given),
         str(folder / "play.yml")],
        capture_output=True, text=True, check=False, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "out.json").read_text())


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The workloads by name."""
    found = play(tmp_path_factory.mktemp("here"), mlops_broker=BROKER, drift_detector_replicas=2)
    assert found["problems"] == []
    return {workload["name"]: workload for workload in found["workloads"]}


def test_the_seam_takes_them(declared: dict[str, Any]) -> None:
    assert [workload.name for workload in parse(list(declared.values()))] == ["drift-detector", "drift-archive"]


@pytest.mark.parametrize(("name", "client"), [("drift-detector", "drift"), ("drift-archive", "archive")])
def test_each_has_its_own_users_and_nobody_elses(declared: dict[str, Any], name: str, client: str) -> None:
    workload = declared[name]
    assert workload["env"]["MLOPS_BROKER_USERNAME"] == workload["env"]["MLFLOW_TRACKING_USERNAME"] == client
    assert [secret["name"] for secret in workload["secrets"]] == [
        f"kafka_{client}_password",
        f"mlflow_{client}_password",
    ]
    assert workload["env"].items() >= BROKER["env"].items() and workload["configs"] == BROKER["configs"]
    assert workload["connects"] == ["kafka", "kafka-topics", "mlflow"]


def test_who_makes_the_states_topic_alone_may_administer_the_broker(declared: dict[str, Any]) -> None:
    (job,) = declared["drift-detector"]["jobs"]
    assert json.loads(job["env"]["MLOPS_TOPICS"]) == [
        {"name": "stream.__drift_state", "partitions": 1, "cleanup": "compact"}
    ]
    assert job["secrets"] == BROKER["job"]["secrets"] and job["env"]["MLOPS_BROKER"] == "kafka:9093"
    assert declared["drift-detector"]["replicas"] == 2


def test_the_sites_own_broker_and_no_archive(tmp_path: Path) -> None:
    (detector,) = play(tmp_path, mlops_broker=EXTERNAL, drift_detector_archive=False)["workloads"]
    assert (detector["connects"], detector["egress"], detector["jobs"]) == (["mlflow"], [OUTSIDE], [])
    parse([detector])


def test_alibi_detect_is_an_image_of_its_own_for_the_detector_alone(tmp_path: Path) -> None:
    detector, archive = play(tmp_path, mlops_broker=BROKER, drift_detector_alibi=True)["workloads"]
    assert (detector["image"], archive["image"]) == ("drift_detector_alibi", "drift_detector")
    assert detector["resources"]["limits"]["memory"] == "2Gi"
    parse([detector, archive])


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {
        "replicas": 0, "cpu_limit": 0, "memory_limit": "much", "snapshot_seconds": 0, "poll_seconds": 0, "lag": 0,
        "alibi": "x", "archive": "some", "archive_cpu_limit": "all", "archive_memory_limit": "1 GB",
        "archive_retention": "long", "overrides": [],
    }  # fmt: skip
    found = play(tmp_path, mlops_broker=BROKER, **{f"drift_detector_{name}": value for name, value in wrong.items()})
    assert [line.split(":")[0] for line in found["problems"]] == [f"drift_detector_{name}" for name in wrong]
