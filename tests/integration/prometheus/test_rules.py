# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The role's files under promtool's eyes: what they say is valid, and what the rules make of series is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import prometheus as server
import yaml
from ansible_collections.mlops.onprem.plugins.filter.prometheus import prometheus_config, prometheus_web_config

ROOT = Path(__file__).resolve().parents[3]
RULES = sorted(ROOT.glob("roles/prometheus/files/*.yml"))
SETTINGS: dict[str, Any] = {
    "platform": "mlops",
    "agent": "http://agent:8080",
    "scrape_interval": "10s",
    "scrape_timeout": "5s",
    "evaluation_interval": "10s",
    "username": "platform",
    "sample_limit": 10000,
    "alertmanagers": ["http://alerts.example.org:9093/am"],
    "scrape_configs": [{"job_name": "own", "static_configs": [{"targets": ["192.0.2.1:9100"]}]}],
}


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    files = {"password_file": str(tmp_path / "password"), "rule_files": [str(file) for file in RULES]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(prometheus_config({**SETTINGS, **files})))
    done = server.promtool("check", "config", "--lint=all", "--lint-fatal", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rule files found" in done.stdout


def test_the_file_of_users_is_valid(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text(prometheus_web_config({"admin": "one", "platform": "two"}, "salt"))
    done = server.promtool("check", "web-config", tmp_path / "web.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_make_of_series_what_they_should(tmp_path: Path) -> None:
    tests = yaml.safe_load(Path(__file__).with_name("rules.yml").read_text())
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"rule_files": [str(file) for file in RULES], **tests}))
    done = server.promtool("test", "rules", tmp_path / "rules.yml")
    assert done.returncode == 0, done.stdout + done.stderr
