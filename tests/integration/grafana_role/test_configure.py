# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The role grafana at a server: what it makes there, that a second run changes nothing, and what of it goes again.

The server is a stand-in, or an installed one where MLOPS_GRAFANA_HOME says so.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
for folder in ("tests/servers", "tests/conformance"):
    if str(ROOT / folder) not in sys.path:
        sys.path.insert(0, str(ROOT / folder))

import dashboards  # noqa: E402 - found only now
from grafana import PASSWORD, USER, Grafana  # noqa: E402

BOARDS = {f"mlops-{name}" for name in dashboards.boards()}
PLAY = f"""
- hosts: localhost
  gather_facts: false
  vars_files: ["{ROOT}/playbooks/vars/platform.yml"]
  tasks:
    - ansible.builtin.include_role: {{name: mlops.onprem.grafana, tasks_from: "{{{{ verb }}}}"}}
    - ansible.builtin.copy:
        content: "{{{{ mlops_problems | default([]) | to_json }}}}"
        dest: "{{{{ out }}}}"
        mode: "0600"
      check_mode: false
      changed_when: false
"""
SECRETS = {
    "grafana_admin_password": PASSWORD,
    "grafana_secret_key": "key-for-good",
    "grafana_ledger_password": "ledger-for-good",
    "grafana_alerts_password": "alerts-for-good",
    "prometheus_platform_password": "metrics-for-good",
}
METRICS = {
    "url": "http://prometheus:9090", "workload": "prometheus", "username": "platform", "ca_path": "", "configs": [],
    "password_secret": "prometheus_platform_password", "egress": [], "pages": "https://prometheus.example.org",
}  # fmt: skip
DATABASE = {
    "host": "postgresql", "port": 5432, "env": {}, "configs": [],
    "names": {"lifecycle": "lifecycle", "grafana": "grafana"},
    "users": {"grafana_ledger": "grafana_ledger", "grafana": "grafana"},
}  # fmt: skip
LIFECYCLE = {"url": "http://lifecycle:8080", "workload": "lifecycle", "pages": "https://lifecycle.example.org"}


class Role:
    """Runs its verbs."""

    def __init__(self, folder: Path, grafana: Grafana) -> None:
        self.folder, self.grafana = folder, grafana
        self.said = ""
        (folder / "play.yml").write_text(PLAY)
        (folder / "hosts.yml").write_text("mlops_managers: {hosts: {localhost: {ansible_connection: local}}}\n")
        self.given: dict[str, Any] = {
            "mlops_grafana": True,
            "grafana_reach": grafana.url,
            "grafana_host_header": "",
            "grafana_gateway_ca": "",
            "mlops_secret_values": SECRETS,
            "mlops_metrics": METRICS,
            "mlops_database": DATABASE,
            "mlops_lifecycle": LIFECYCLE,
            "out": str(folder / "out.json"),
            "ansible_python_interpreter": sys.executable,
        }

    def run(self, verb: str, *arguments: str, **variables: Any) -> int:
        """How many tasks changed something."""
        given = {key: value for key, value in {**self.given, "verb": verb, **variables}.items() if value is not None}
        (self.folder / "vars.json").write_text(json.dumps(given))
        command = [sys.executable, "-m", "ansible", "playbook", "-i", self.folder / "hosts.yml", "--diff", "-vvv"]
        done = subprocess.run(
            [*command, "-e", f"@{self.folder / 'vars.json'}", *arguments, self.folder / "play.yml"],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        self.said = done.stdout + done.stderr
        assert done.returncode == 0, self.said[-4000:]
        assert "for-good" not in self.said and PASSWORD not in self.said
        [changed] = re.findall(r"changed=(\d+)", done.stdout)
        return int(changed)

    def problems(self) -> list[str]:
        return list(json.loads((self.folder / "out.json").read_text()))

    def boards(self) -> set[str]:
        return {one["uid"] for one in self.grafana.api("GET", "/api/search?type=dash-db")}


@pytest.fixture
def role(tmp_path: Path) -> Iterator[Role]:
    with Grafana.started(tmp_path) as grafana:
        yield Role(tmp_path, grafana)


def test_what_it_makes_and_that_a_second_run_changes_nothing(role: Role) -> None:
    assert role.run("configure", "--check") == 3 and role.boards() == set()
    assert role.run("configure") == 3
    assert role.boards() == BOARDS
    assert role.run("configure") == 0
    api = role.grafana.api
    metrics = api("GET", "/api/datasources/uid/mlops-metrics")
    assert (metrics["type"], metrics["url"], metrics["basicAuthUser"]) == ("prometheus", METRICS["url"], "platform")
    assert metrics["secureJsonFields"] == {"basicAuthPassword": True} and metrics["jsonData"]["httpMethod"] == "POST"
    ledger = api("GET", "/api/datasources/uid/mlops-ledger")
    assert (ledger["url"], ledger["user"]) == ("postgresql:5432", "grafana_ledger")
    assert (ledger["jsonData"]["database"], ledger["jsonData"]["sslmode"]) == ("lifecycle", "disable")
    for name, board in dashboards.boards().items():
        held = api("GET", f"/api/dashboards/uid/mlops-{name}")
        assert held["meta"]["folderUid"] == "mlops" and held["dashboard"]["panels"] == board["panels"]
    [point] = [one for one in api("GET", "/api/v1/provisioning/contact-points") if one["name"] == "mlops lifecycle"]
    assert point["settings"]["url"] == "http://lifecycle:8080/v1/alerts" and point["settings"]["username"] == "grafana"
    # What somebody changed by hand is put right, and a new password is noticed.
    api("DELETE", "/api/dashboards/uid/mlops-loop")
    assert role.run("configure", mlops_secret_values={**SECRETS, "grafana_ledger_password": "new-for-good"}) == 2
    assert role.boards() == BOARDS
    # With another key Grafana could no longer read what it has kept.
    assert role.run("configure", mlops_secret_values={**SECRETS, "grafana_secret_key": "other-for-good"}) == 2


def test_without_the_loop_and_without_drift(role: Role) -> None:
    role.run("configure")
    parts = ["postgresql", "agent", "gateway", "prometheus", "grafana"]
    api = role.grafana.api
    # A policy of the site's own that sends to the controller keeps the way to it, and nothing else.
    policy = api("GET", "/api/v1/provisioning/policies")
    api("PUT", "/api/v1/provisioning/policies", policy | {"receiver": "mlops lifecycle"})
    assert role.run("configure", mlops_components=parts, mlops_lifecycle=None) == 2
    assert role.boards() == {"mlops-platform", "mlops-model-serving"}
    assert not role.grafana.there("/api/datasources/uid/mlops-ledger")
    assert [one["name"] for one in api("GET", "/api/v1/provisioning/contact-points")].count("mlops lifecycle") == 1
    api("PUT", "/api/v1/provisioning/policies", policy)
    assert role.run("configure", mlops_components=parts, mlops_lifecycle=None) == 1
    assert [one["name"] for one in api("GET", "/api/v1/provisioning/contact-points")].count("mlops lifecycle") == 0
    assert role.run("configure", mlops_components=parts, mlops_lifecycle=None) == 0


def test_a_metrics_server_and_a_database_of_the_site_s_own(role: Role) -> None:
    ca = [{"path": "/etc/mlops/ca.pem", "content": "-----BEGIN CERTIFICATE-----\n"}]
    metrics = {
        **METRICS,
        "url": "https://metrics.example.org",
        "workload": "",
        "configs": ca,
        "username": "",
        "password_secret": "",
    }
    database = {
        **DATABASE,
        "host": "2001:db8::5",
        "configs": ca,
        "env": {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "x"},
    }
    role.run("configure", mlops_metrics=metrics, mlops_database=database)
    held = role.grafana.api("GET", "/api/datasources/uid/mlops-metrics")
    assert held["secureJsonFields"] == {"tlsCACert": True} and held["jsonData"]["tlsAuthWithCACert"] is True
    assert held["basicAuth"] is False and held["url"] == "https://metrics.example.org"
    held = role.grafana.api("GET", "/api/datasources/uid/mlops-ledger")
    assert held["secureJsonFields"] == {"tlsCACert": True, "password": True}
    assert held["url"] == "[2001:db8::5]:5432" and held["jsonData"]["sslmode"] == "verify-full"
    assert role.run("configure", mlops_metrics=metrics, mlops_database=database) == 0


def test_a_new_password_of_the_administrator(role: Role) -> None:
    role.run("configure")
    changed = {"mlops_secret_values": {**SECRETS, "grafana_admin_password": "another-for-good"}}
    changed["mlops_secret_previous"] = {"grafana_admin_password": PASSWORD}
    assert role.run("configure", **changed) == 1
    # Where the run broke off before the old one was forgotten.
    assert role.run("configure", **changed) == 0


def token_of(grafana: Grafana, role: str) -> str:
    account = grafana.api("POST", "/api/serviceaccounts", {"name": f"for-{role}", "role": role})
    return str(grafana.api("POST", f"/api/serviceaccounts/{account['id']}/tokens", {"name": "t"})["key"])


def external(role: Role, **variables: Any) -> dict[str, Any]:
    return {
        "mlops_alerting_provider": "external",
        "mlops_alerting_address": role.grafana.url,
        "grafana_reach": None,
        **variables,
    }


def test_the_site_s_own_gets_ours_and_keeps_its_own(role: Role) -> None:
    api = role.grafana.api
    api("POST", "/api/dashboards/db", {"dashboard": {"uid": "theirs", "title": "Theirs", "panels": []}})
    site = external(role, mlops_secret_values={**SECRETS, "grafana_token": token_of(role.grafana, "Admin")})
    assert role.run("configure", **site) == 3
    assert role.boards() == BOARDS | {"theirs"} and role.run("configure", **site) == 0
    # It goes through the gateway, and the ledger is out of its reach.
    assert api("GET", "/api/datasources/uid/mlops-metrics")["url"] == METRICS["pages"]
    assert not role.grafana.there("/api/datasources/uid/mlops-ledger")
    panels = api("GET", "/api/dashboards/uid/mlops-loop")["dashboard"]["panels"]
    assert len(panels) < len(dashboards.boards()["loop"]["panels"])
    [point] = [one for one in api("GET", "/api/v1/provisioning/contact-points") if one["name"] == "mlops lifecycle"]
    assert point["settings"]["url"] == "https://lifecycle.example.org/v1/alerts"
    assert role.run("absent", "--check", **site) == 3 and role.boards() == BOARDS | {"theirs"}
    assert role.run("absent", **site, mlops_metrics=None, mlops_database=None, mlops_lifecycle=None) == 3
    assert role.boards() == {"theirs"} and not role.grafana.there("/api/datasources/uid/mlops-metrics")
    assert "The folder mlops stays" in role.said
    assert role.run("absent", **site) == 0


def test_one_that_is_away_keeps_nobody_from_uninstalling(role: Role) -> None:
    site = external(role, mlops_alerting_address="http://127.0.0.1:9")
    assert role.run("absent", **site) == 0
    assert "Not removed from http://127.0.0.1:9" in role.said and "mlops-platform" in role.said


def test_what_the_site_s_own_is_asked_before_anything_is_touched(role: Role) -> None:
    def said(**variables: Any) -> list[str]:
        role.run("preflight", **external(role, mlops_secret_values=None, **variables))
        return [problem.split(":")[0] for problem in role.problems()]

    admin = {"mlops_secrets_known": {"grafana_admin_password": PASSWORD}, "mlops_alerting_username": USER}
    assert said(**admin) == []
    assert said(mlops_secrets_known={"grafana_token": token_of(role.grafana, "Admin")}) == []
    assert said(mlops_secrets_known={"grafana_token": "glsa_wrong"}) == ["mlops_alerting_username"]
    assert said(mlops_secrets_known={}) == ["mlops_alerting_username"]
    assert said(**{**admin, "mlops_alerting_address": "http://127.0.0.1:9"}) == ["mlops_alerting_address"]
    assert said(**{**admin, "mlops_alerting_address": f"{role.grafana.url}/elsewhere"}) == ["mlops_alerting_address"]
    # The same questions, when it is used.
    role.run("health", **external(role, mlops_secret_values={**SECRETS}, mlops_alerting_username=USER))
