# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The role grafana: what it declares, what it needs of others, and what it says of wrong variables."""

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
if str(ROOT / ".collections") not in sys.path:
    sys.path.insert(0, str(ROOT / ".collections"))

from ansible_collections.mlops.onprem.plugins.module_utils._images.plan import items, unbuildable  # noqa: E402
from ansible_collections.mlops.onprem.plugins.module_utils._images.recipe import Table  # noqa: E402
from ansible_collections.mlops.onprem.plugins.module_utils._workload import parse  # noqa: E402

GRAFANA = ("admin_password", "db_password", "secret_key", "ledger_password", "alerts_password")
NAMES = (*(f"grafana_{name}" for name in GRAFANA), "lifecycle_admin_password", "lifecycle_alerts_password")
NAMES += ("lifecycle_db_password", "agent_token_lifecycle", "agent_token_operator", "postgresql_admin_password")
NAMES += ("prefect_admin_password", "prefect_db_password", "prometheus_admin_password", "kafka_serving_password")
NAMES += ("prometheus_platform_password", "prometheus_password_salt")
SECRETS = {name: f"hidden-{name}" for name in NAMES}
# A task each: of a loop, Ansible takes the items in the order in which the hosts, done side by side, name them.
ORDER = ("postgresql", "prefect", "lifecycle", "agent", "prometheus", "grafana")
DECLARE = """
    - ansible.builtin.include_role: {{name: mlops.onprem.{0}}}
      when: ["'{0}' in mlops_chosen_components", mlops_problems | length == 0]
"""
PLAY = f"""
- hosts: all
  gather_facts: false
  vars_files: ["{ROOT}/playbooks/vars/platform.yml"]
  tasks:
    - ansible.builtin.set_fact: {{mlops_secret_values: "{{{{ given_secrets }}}}"}}
    - ansible.builtin.include_role: {{name: "mlops.onprem.{{{{ item }}}}", tasks_from: validate}}
      loop: "{{{{ ['lifecycle', 'grafana'] | select('in', mlops_chosen_components) | list + ['validate'] }}}}"
    {"".join(map(DECLARE.format, ORDER))}
    - ansible.builtin.copy:
        content: "{{{{ {{'workloads': mlops_workloads | default([]), 'alerting': mlops_alerting | default({{}}),
                   'problems': mlops_problems, 'components': mlops_chosen_components,
                   'clients': mlops_secret_values.lifecycle_clients | default('{{}}')}} | to_json }}}}"
        dest: "{{{{ out }}}}/{{{{ inventory_hostname }}}}"
        mode: "0600"
"""
SERVING = {"username": "serving", "env": {}, "secrets": [{"name": "kafka_serving_password"}]}
BROKER = {
    "bootstrap": "kafka:9092", "workloads": ["kafka"], "egress": [], "prefix": "predictions.", "env": {}, "configs": [],
    "users": {"serving": SERVING},
}  # fmt: skip
PEM = "-----BEGIN CERTIFICATE-----\n"
WRONG: dict[str, Any] = {
    "mlops_images_source": "build",
    "mlops_alerting_address": "http://grafana.example.org",
    "grafana_folder": "",
    "grafana_scrape_interval": "often",
    "grafana_cpu_limit": 0,
    "grafana_memory_limit": "much",
    "grafana_log_level": "loud",
    "grafana_database_connections": 1,
    "grafana_overrides": [],
}
#: Each is a host of one play: Ansible starts once for all.
SITES: dict[str, dict[str, Any]] = {
    "default": {"mlops_grafana": None},
    "here": {},
    "bare": {"mlops_components": ["postgresql", "agent", "gateway", "prometheus", "grafana"], "mlops_grafana": None},
    "database": {
        "mlops_database_provider": "external",
        "mlops_database_host": "db.example.org",
        "mlops_database_ca": PEM,
        "mlops_database_names": {"grafana": "ml_grafana"},
        "mlops_database_users": {"grafana_ledger": "ml_reader"},
    },
    "external": {
        "mlops_grafana": None,
        "mlops_alerting_provider": "external",
        "mlops_alerting_address": "https://grafana.example.org/g/",
        "mlops_images_source": "build",
    },
    "overridden": {
        "mlops_images_source": "build",
        "images_overrides": {"grafana": {"pull": "registry.example.org/grafana:12.4.11"}},
    },
    "wrong": WRONG,
    "decided": {"mlops_images_lock_file": "LOCK"},
    "wrong_external": {
        "mlops_alerting_provider": "external",
        "mlops_alerting_address": "grafana",
        "mlops_alerting_ca": "/no/such",
    },
    "unknown": {"mlops_alerting_provider": "kibana"},
}


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    if not (ansible := Path(sys.executable).parent / "ansible-playbook").exists():
        pytest.skip("ansible-playbook is not beside this Python")
    folder = tmp_path_factory.mktemp("grafana")
    (folder / "decided.lock.yml").write_text("source: build\n")
    usual = {"mlops_grafana": True, "mlops_broker": BROKER, "mlops_domain": "ml.example.org"}
    hosts = {}
    for name, own in SITES.items():
        given = {key: value for key, value in {**usual, **own}.items() if value is not None}
        if "mlops_images_lock_file" in given:
            given["mlops_images_lock_file"] = str(folder / "decided.lock.yml")
        hosts[name] = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **given}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"mlops_managers": {"hosts": hosts}}))
    (folder / "play.yml").write_text(PLAY)
    (folder / "vars.json").write_text(json.dumps({"out": str(folder / "out"), "given_secrets": SECRETS}))
    (folder / "out").mkdir()
    done = subprocess.run(
        [ansible, "-i", folder / "hosts.yml", "-e", f"@{folder / 'vars.json'}", folder / "play.yml"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return {name: json.loads((folder / "out" / name).read_text()) for name in SITES}


def workload(site: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in site["workloads"] if one["name"] == name)


def databases(one: dict[str, Any]) -> list[str]:
    return [line for job in one["jobs"] for line in job["env"].get("MLOPS_DATABASES", "").splitlines()]


def test_it_is_there_where_somebody_asks_for_it(sites: dict[str, Any]) -> None:
    assert {name for name, site in sites.items() if "grafana" not in site["components"]} == {"default"}
    default = sites["default"]
    assert [one for one in default["workloads"] if one["name"] == "grafana"] == []
    assert databases(workload(default, "lifecycle")) == ["lifecycle lifecycle lifecycle_db_password owner"]
    assert "grafana" not in json.loads(default["clients"])


def test_a_grafana_of_ours(sites: dict[str, Any]) -> None:
    site = sites["here"]
    one = workload(site, "grafana")
    parse(site["workloads"])
    assert one["image"] == "grafana" and one["user"] == "472:472" and "args" not in one
    assert one["connects"] == ["postgresql", "prometheus", "lifecycle"] and one["egress"] == []
    assert databases(one) == ["grafana grafana grafana_db_password owner"]
    # The secrets are files, and nothing else of them is told.
    mounted = {item["name"] for item in one["secrets"]}
    assert mounted == {"grafana_admin_password", "grafana_db_password", "grafana_secret_key"}
    named = {value for name, value in one["env"].items() if name.endswith("__FILE")}
    assert named == {f"/run/secrets/{name}" for name in mounted}
    assert "hidden-" not in json.dumps(one)
    env = one["env"]
    assert env["GF_SERVER_ROOT_URL"] == "https://grafana.ml.example.org/" and env["GF_SECURITY_COOKIE_SECURE"] == "true"
    assert env["GF_AUTH_ANONYMOUS_ENABLED"] == env["GF_ANALYTICS_REPORTING_ENABLED"] == "false"
    assert env["GF_UNIFIED_ALERTING_ENABLED"] == env["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"
    assert env["GF_DATABASE_SSL_MODE"] == "disable" and "GF_DATABASE_CA_CERT_PATH" not in env
    assert site["alerting"] == {
        "url": "http://grafana:3000",
        "workload": "grafana",
        "folder": "mlops",
        "pages": "https://grafana.ml.example.org",
    }


def test_its_metrics_are_for_the_inside(sites: dict[str, Any]) -> None:
    one = workload(sites["here"], "grafana")
    assert one["metrics"] == {"port": "http", "path": "/metrics"}
    ports = {port["name"]: port["port"] for port in one["ports"]}
    leads = {route.get("path", "/"): ports[route["port"]] for route in one["routes"]}
    assert leads["/"] == 3000 and leads["/metrics"] not in (3000, int(one["env"]["GF_SERVER_HTTP_PORT"]))


def test_the_ledger_has_a_reader(sites: dict[str, Any]) -> None:
    assert databases(workload(sites["here"], "lifecycle")) == [
        "lifecycle lifecycle lifecycle_db_password owner",
        "lifecycle grafana_ledger grafana_ledger_password reader",
    ]
    clients = json.loads(sites["here"]["clients"])
    assert clients["grafana"] == {"secret": "hidden-grafana_alerts_password", "may": ["alert"]}


def test_a_database_of_the_site_s_own(sites: dict[str, Any]) -> None:
    one = workload(sites["database"], "grafana")
    env = one["env"]
    assert (env["GF_DATABASE_HOST"], env["GF_DATABASE_NAME"]) == ("db.example.org:5432", "ml_grafana")
    assert env["GF_DATABASE_SSL_MODE"] == "verify-full"
    assert [env["GF_DATABASE_CA_CERT_PATH"]] == [config["path"] for config in one["configs"]]
    assert one["egress"] == [{"host": "db.example.org", "port": 5432}] and "postgresql" not in one["connects"]
    assert databases(workload(sites["database"], "lifecycle"))[1].split()[1] == "ml_reader"


def test_without_the_loop(sites: dict[str, Any]) -> None:
    assert workload(sites["bare"], "grafana")["connects"] == ["postgresql", "prometheus"]


def test_the_site_s_own(sites: dict[str, Any]) -> None:
    site = sites["external"]
    assert site["problems"] == [] and "grafana" not in {one["name"] for one in site["workloads"]}
    assert site["alerting"]["workload"] == "" and site["alerting"]["pages"] == "https://grafana.example.org/g"
    # It doesn't reach the ledger, so nobody may read it.
    assert databases(workload(site, "lifecycle")) == ["lifecycle lifecycle lifecycle_db_password owner"]


def test_everything_wrong_is_said_at_once_by_the_variables_name(sites: dict[str, Any]) -> None:
    problems = sites["wrong"]["problems"]
    assert sorted(problem.split(":")[0] for problem in problems) == sorted(WRONG)
    assert [one.split(":")[0] for one in sites["wrong_external"]["problems"]] == [
        "mlops_alerting_address",
        "mlops_alerting_ca",
    ]
    assert [one.split(":")[0] for one in sites["unknown"]["problems"]] == ["mlops_alerting_provider"]


def test_it_says_that_grafana_can_t_be_built(sites: dict[str, Any]) -> None:
    [said] = [one for one in sites["wrong"]["problems"] if one.startswith("mlops_images_source")]
    for way in (
        "set pull",
        "images_overrides: {grafana: {pull:",
        "mlops_alerting_provider: external",
        "mlops_grafana: false",
    ):
        assert way in said
    [decided] = sites["decided"]["problems"]
    assert "as auto has decided" in decided and "decided.lock.yml" in decided
    assert sites["overridden"]["problems"] == []


def test_its_image_is_pulled_whatever_the_others_are() -> None:
    rows = yaml.safe_load((ROOT / "roles/images/vars/artifacts.yml").read_text())["__images_artifacts"]
    assert rows["grafana"]["licence"] == "AGPL-3.0-only"
    [item] = items(Table(rows, ROOT), ["grafana"], address="r:5000", source="build", digests={})
    assert (item.how, item.upstream, item.key) == ("pull", rows["grafana"]["pull"], "")
    said = unbuildable(["grafana"], ["docker.io"])
    assert said.startswith("grafana can't be built, only pulled, and docker.io doesn't answer")
    assert "images_overrides: {grafana: {pull:" in said
