# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The role prometheus: what it declares, the contract that it hands on, and what it says of wrong variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
SECRETS = {f"prometheus_{name}": name * 4 for name in ("admin_password", "platform_password", "password_salt")}
PLAY = f"""
- hosts: localhost
  gather_facts: false
  vars_files: ["{ROOT}/playbooks/vars/platform.yml"]
  tasks:
    - ansible.builtin.set_fact: {{mlops_secret_values: "{{{{ given_secrets }}}}"}}
    - ansible.builtin.include_role: {{name: mlops.onprem.prometheus, tasks_from: validate}}
    - ansible.builtin.include_role: {{name: mlops.onprem.prometheus}}
      when: mlops_problems | length == 0
    - ansible.builtin.copy:
        content: "{{{{ {{'workloads': mlops_workloads | default([]), 'metrics': mlops_metrics | default({{}}),
                   'problems': mlops_problems, 'secrets': mlops_secret_values}} | to_json }}}}"
        dest: "{{{{ out }}}}"
        mode: "0600"
"""


@pytest.fixture
def run(tmp_path: Path) -> Any:
    if not (ansible := Path(sys.executable).parent / "ansible-playbook").exists():
        pytest.skip("ansible-playbook is not beside this Python")
    (tmp_path / "hosts.yml").write_text("mlops_managers: {hosts: {localhost: {ansible_connection: local}}}\n")
    (tmp_path / "play.yml").write_text(PLAY)

    def call(**variables: Any) -> dict[str, Any]:
        given = {"out": str(tmp_path / "out.json"), "given_secrets": SECRETS, **variables}
        (tmp_path / "vars.json").write_text(json.dumps({**given, "ansible_python_interpreter": sys.executable}))
        done = subprocess.run(
            [ansible, "-i", tmp_path / "hosts.yml", "-e", f"@{tmp_path / 'vars.json'}", tmp_path / "play.yml"],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        return dict(json.loads((tmp_path / "out.json").read_text()))

    return call


def test_a_server_of_ours(run: Any) -> None:
    found = run(mlops_domain="ml.example.org", prometheus_rule_groups=[{"name": "own", "rules": []}])
    [workload] = found["workloads"]
    configs = {item["path"]: item["content"] for item in workload["configs"]}
    config = yaml.safe_load(configs["/etc/prometheus/prometheus.yml"])
    assert set(config["rule_files"]) == set(configs) - {"/etc/prometheus/prometheus.yml"}
    assert yaml.safe_load(configs["/etc/prometheus/rules/site.yml"]) == {"groups": [{"name": "own", "rules": []}]}
    # What an alert says is Prometheus's template, not Ansible's.
    assert "{{ $labels.workload }}" in configs["/etc/prometheus/rules/alerts.yml"]
    assert "--web.external-url=https://prometheus.ml.example.org/" in workload["args"]
    assert workload["zone"] == "metrics" and workload["connects"] == ["agent"]
    assert found["metrics"] == {
        "url": "http://prometheus:9090",
        "workload": "prometheus",
        "username": "platform",
        "password_secret": "prometheus_platform_password",
        "ca_path": "",
        "egress": [],
        "configs": [],
        "pages": "https://prometheus.ml.example.org",
    }
    shown = json.dumps(workload)
    assert not any(value in shown for value in SECRETS.values())
    assert "admin_password" * 4 not in found["secrets"]["prometheus_web_config"]


def test_the_site_s_own(run: Any) -> None:
    found = run(
        mlops_metrics_provider="external",
        mlops_metrics_address="https://metrics.example.org/prom/",
        mlops_metrics_username="mlops",
        mlops_metrics_ca="-----BEGIN CERTIFICATE-----\n",
    )
    assert found["workloads"] == [] and found["problems"] == []
    metrics = found["metrics"]
    assert (metrics["url"], metrics["workload"]) == ("https://metrics.example.org/prom", "")
    assert metrics["egress"] == [{"host": "metrics.example.org", "port": 443}]
    assert metrics["ca_path"] == metrics["configs"][0]["path"]
    assert (metrics["username"], metrics["password_secret"]) == ("mlops", "prometheus_platform_password")


def test_everything_wrong_is_said_at_once_by_the_variables_name(run: Any) -> None:
    problems = run(
        prometheus_data_size="much",
        prometheus_retention_size="16Gi",
        prometheus_retention_time="1h",
        prometheus_scrape_timeout="20s",
        prometheus_evaluation_interval="often",
        prometheus_sample_limit=1,
        prometheus_query_max_samples=1,
        prometheus_alertmanagers=["alerts.example.org"],
        prometheus_cpu_limit=0,
        prometheus_memory_limit="lots",
        prometheus_overrides=[],
        mlops_metrics_address="http://metrics.example.org",
    )["problems"]
    assert [problem.split(":")[0] for problem in problems] == [
        "prometheus_data_size",
        "prometheus_retention_size",
        "prometheus_retention_time",
        "prometheus_scrape_timeout",
        "prometheus_evaluation_interval",
        "prometheus_sample_limit",
        "prometheus_query_max_samples",
        "prometheus_alertmanagers",
        "prometheus_cpu_limit",
        "prometheus_memory_limit",
        "prometheus_overrides",
        "mlops_metrics_address",
    ]


def test_a_wrong_address_of_the_site_s_own(run: Any) -> None:
    problems = run(mlops_metrics_provider="external", mlops_metrics_address="metrics", mlops_metrics_ca="/no/such")
    assert [problem.split(":")[0] for problem in problems["problems"]] == ["mlops_metrics_address", "mlops_metrics_ca"]
