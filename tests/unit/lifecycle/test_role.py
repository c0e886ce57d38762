# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The role lifecycle: its workload, its rights at the agent, how Prometheus reaches it, and what it says is wrong."""

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
from mlops_runtime.lifecycle.settings import read_settings  # noqa: E402

NAMES = ("lifecycle_admin_password", "lifecycle_alerts_password", "lifecycle_db_password", "agent_token_lifecycle")
NAMES += ("postgresql_admin_password", "prefect_admin_password", "prefect_db_password", "agent_token_operator")
NAMES += ("prometheus_admin_password", "prometheus_platform_password", "prometheus_password_salt")
SECRETS = {name: f"hidden-{name}" for name in (*NAMES, "mlflow_serving_password", "lifecycle_password_pager")}
PLAY = f"""
- hosts: all
  gather_facts: false
  vars_files: ["{ROOT}/playbooks/vars/platform.yml"]
  tasks:
    - ansible.builtin.set_fact: {{mlops_secret_values: "{{{{ given_secrets }}}}"}}
    - ansible.builtin.include_role: {{name: mlops.onprem.lifecycle, tasks_from: validate}}
    - ansible.builtin.include_role: {{name: "mlops.onprem.{{{{ item }}}}"}}
      loop: [postgresql, prefect, lifecycle, agent, prometheus]
      when: mlops_problems | length == 0
    - ansible.builtin.copy:
        content: "{{{{ {{'workloads': mlops_workloads | default([]), 'problems': mlops_problems,
                   'secrets': mlops_secret_values}} | to_json }}}}"
        dest: "{{{{ out }}}}/{{{{ inventory_hostname }}}}"
        mode: "0600"
"""
SERVING = [{"name": "kafka_serving_password"}]
USER = {"username": "serving", "env": {"MLOPS_BROKER_USERNAME": "serving"}, "secrets": SERVING}
BROKER = {
    "bootstrap": "kafka:9092", "workloads": ["kafka", "kafka-topics"], "egress": [], "prefix": "predictions.",
    "env": {"MLOPS_BROKER": "kafka:9092"}, "configs": [], "users": {"serving": USER},
}  # fmt: skip
ELSEWHERE = {**BROKER, "workloads": [], "egress": [{"host": "kafka.example.org", "port": 9093}]}
MODEL = {
    "name": "iris",
    "source": {"path": "model"},
    "requirements": "requirements.txt",
    "drift": {"detectors": ["ewma"], "artefact": "drift"},
    "retraining": {"flow": "flows.py:retrain", "gate": {"metric": "f1"}, "on": [{"drift": True, "for": "2m"}]},
}
WRONG: dict[str, Any] = {
    "lifecycle_runs": 0,
    "lifecycle_settle_seconds": -1,
    "lifecycle_silent_seconds": 0,
    "lifecycle_poll_seconds": 0,
    "lifecycle_cpu_limit": 0,
    "lifecycle_memory_limit": "much",
    "lifecycle_clients": {"admin": ["read"], "pager": ["page"]},
    "lifecycle_overrides": [],
}
#: Each is a host of one play: Ansible starts once for all.
SITES: dict[str, dict[str, Any]] = {
    "here": {
        "mlops_broker": BROKER,
        "mlops_models": [MODEL],
        "lifecycle_clients": {"pager": ["alert"]},
        "model_overrides": {"model-iris": {"replicas": 2}},
    },
    "external": {"mlops_broker": ELSEWHERE},
    "wrong": WRONG,
}


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("sites")
    (folder / "model").mkdir()
    (folder / "drift").mkdir()
    (folder / "requirements.txt").write_text("")
    (folder / "flows.py").write_text("")
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


def workload(site: dict[str, Any], name: str) -> dict[str, Any]:
    return next(dict(one) for one in site["workloads"] if one["name"] == name)


def config(of: dict[str, Any], path: str) -> str:
    return next(str(one["content"]) for one in of["configs"] if one["path"] == path)


@pytest.fixture(scope="module")
def here(sites: dict[str, dict[str, Any]]) -> dict[str, Any]:
    assert sites["here"]["problems"] == []
    return sites["here"]


def test_the_seam_takes_what_it_declares(here: dict[str, Any]) -> None:
    assert "lifecycle" in [one.name for one in parse(here["workloads"])]
    assert "hidden-" not in json.dumps(here["workloads"])


def test_the_controller_understands_its_environment(here: dict[str, Any], tmp_path: Path) -> None:
    lifecycle = workload(here, "lifecycle")
    env, files = dict(lifecycle["env"]), {one["path"]: one["name"] for one in lifecycle["secrets"]}
    for name, value in env.items():
        if value in files:
            (tmp_path / files[value]).write_text(here["secrets"].get(files[value], "hidden"))
            env[name] = str(tmp_path / files[value])
    (tmp_path / "platform.json").write_text(config(lifecycle, env["MLOPS_LIFECYCLE_PLATFORM_FILE"]))
    settings = read_settings({**env, "MLOPS_LIFECYCLE_PLATFORM_FILE": str(tmp_path / "platform.json")})
    assert settings.serving and settings.serving.platform.broker
    assert settings.serving.overrides == {"model-iris": {"replicas": 2}}
    assert (settings.prefect, settings.inside_port) == ("http://prefect:4200/api", 8081)
    assert "user=lifecycle" in settings.database and "host=postgresql" in settings.database


def test_only_its_public_port_has_a_route(here: dict[str, Any]) -> None:
    lifecycle = workload(here, "lifecycle")
    assert [(one["host"], one["port"]) for one in lifecycle["routes"]] == [("lifecycle", "http")]
    assert lifecycle["metrics"]["port"] == "inside"


def test_the_schema_is_made_before_it_starts(here: dict[str, Any]) -> None:
    databases, migration = workload(here, "lifecycle")["jobs"]
    assert databases["env"]["MLOPS_DATABASES"] == "lifecycle lifecycle lifecycle_db_password owner"
    assert migration["args"][-1] == "migrate"


def test_its_clients(here: dict[str, Any]) -> None:
    clients = json.loads(here["secrets"]["lifecycle_clients"])
    assert {name: one["may"] for name, one in clients.items()} == {
        "admin": ["read", "approve"], "prometheus": ["alert"], "pager": ["alert"],
    }  # fmt: skip
    assert clients["pager"]["secret"] == "hidden-lifecycle_password_pager"


def test_the_agent_lets_it_serve_models_and_nothing_else(sites: dict[str, dict[str, Any]]) -> None:
    rights = json.loads(sites["here"]["secrets"]["agent_tokens"])
    assert rights["operator"].keys() == {"token_sha256"}
    own = rights["lifecycle"]
    assert (own["sets"], own["egress"]) == (["models"], [])
    assert own["secrets"] == ["mlflow_serving_password", "kafka_serving_password"]
    assert own["connects"] == ["mlflow", "kafka", "kafka-topics"]
    assert own["paths"] == ["/seldon/mlops/", "/seldon.protos."]
    lent = {one["name"] for one in workload(sites["here"], "agent")["secrets"]}
    assert set(own["secrets"]) <= lent
    assert json.loads(sites["external"]["secrets"]["agent_tokens"])["lifecycle"]["egress"] == ["kafka.example.org:9093"]


def test_prometheus_has_the_rules_and_sends_their_alerts(here: dict[str, Any]) -> None:
    prometheus = workload(here, "prometheus")
    assert prometheus["connects"] == ["agent", "lifecycle"]
    assert {"name": "lifecycle_alerts_password"} in prometheus["secrets"]
    assert "purpose: retraining" in config(prometheus, "/etc/prometheus/rules/retraining.yml")
    assert "lifecycle:8080" in config(prometheus, "/etc/prometheus/prometheus.yml")


def test_everything_wrong_is_said_at_once(sites: dict[str, dict[str, Any]]) -> None:
    problems = [problem.split(":")[0].split(",")[0] for problem in sites["wrong"]["problems"]]
    assert list(dict.fromkeys(problems)) == list(WRONG)
