# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The examples of all modules and of docs/alerting.md, by ansible-playbook."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from grafana import PASSWORD, ROOT, Grafana

ORDER = ("data_source", "dashboard", "contact_point", "alert_rule_group", "notification_policy")


def test_the_examples_run_as_documented(grafana: Grafana, tmp_path: Path) -> None:
    """What takes something away comes last, and a contact point only when no policy tells it."""
    tasks: list[list[dict[str, Any]]] = [[], []]
    for name in (*ORDER, *(f"{name}_info" for name in ORDER)):
        module = importlib.import_module(f"ansible_collections.mlops.onprem.plugins.modules.grafana_{name}")
        text = module.EXAMPLES.replace("http://grafana.localhost", f"http://grafana.localhost:{grafana.port}")
        for task in yaml.safe_load(text):
            tasks[task[f"mlops.onprem.grafana_{name}"].get("state") == "absent"].append(task)
    said = play(tmp_path, [{"hosts": "localhost", "gather_facts": False, "tasks": [*tasks[0], *tasks[1][::-1]]}])
    assert "{{ $labels.model }} drifts" in said
    assert grafana.api("GET", "/api/v1/provisioning/policies")["receiver"] == "grafana-default-email"


def test_the_documented_alert(grafana: Grafana, tmp_path: Path) -> None:
    found = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/alerting.md").read_text(), re.DOTALL)
    assert found
    account = grafana.api("POST", "/api/serviceaccounts", {"name": "documented", "role": "Admin"})
    token = grafana.api("POST", f"/api/serviceaccounts/{account['id']}/tokens", {"name": "t"})["key"]
    text = found[1].replace("https://grafana.example.org", grafana.url)
    try:
        for changed in (4, 0):
            said = play(tmp_path, yaml.safe_load(text), grafana_token=token)
            assert token not in said and f"changed={changed} " in said, said
    finally:
        grafana.api("DELETE", "/api/v1/provisioning/policies")


def play(directory: Path, plays: list[dict[str, Any]], **more: str) -> str:
    """What ansible-playbook says of plays that succeed; it never says a secret."""
    secrets = {
        "grafana_admin_password": PASSWORD,
        "grafana_hash_key": "hash-key-for-tests",
        "lifecycle_token": "lifecycle-token-for-good",
        "prometheus_password": "prometheus-password-for-good",
        "webhook_token": "webhook-token-for-good",
    }
    for one in plays:
        one["vars"] = {"ansible_python_interpreter": sys.executable, **secrets, **more}
    (directory / "play.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
    command = ["ansible-playbook", "-i", "localhost,", "-c", "local", "--diff", str(directory / "play.yml")]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {**os.environ, "PATH": path, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=600)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert not any(secret in said for secret in secrets.values())
    return said
