# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Prometheus's configuration as data, and its file of users."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import yaml
from ansible.errors import AnsibleFilterError

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / ".collections"))

from ansible_collections.mlops.onprem.plugins.filter.prometheus import (
    prometheus_config,
    prometheus_egress,
    prometheus_seconds,
    prometheus_web_config,
)

SETTINGS: dict[str, Any] = {
    "platform": "mlops",
    "agent": "http://agent:8080",
    "scrape_interval": "10s",
    "scrape_timeout": "5s",
    "evaluation_interval": "15s",
    "username": "platform",
    "password_file": "/run/secrets/prometheus_platform_password",
    "sample_limit": 10000,
    "rule_files": ["/etc/prometheus/rules/recording.yml"],
}
SALT = "s" * 32


def jobs(**more: Any) -> dict[str, dict[str, Any]]:
    return {job["job_name"]: job for job in prometheus_config({**SETTINGS, **more})["scrape_configs"]}


def test_no_workload_is_named_so_that_a_new_one_changes_nothing() -> None:
    found = jobs()
    assert list(found) == ["prometheus", "platform", "workloads"]
    [platform] = found["platform"]["http_sd_configs"]
    [others] = found["workloads"]["http_sd_configs"]
    assert platform["url"] == "http://agent:8080/v1/prometheus?set=platform"
    assert others["url"] == "http://agent:8080/v1/prometheus?except=platform"


def test_only_the_platform_s_own_may_speak_for_others() -> None:
    found = jobs()
    assert found["platform"]["honor_labels"] is True
    assert "honor_labels" not in found["workloads"]
    assert found["workloads"]["sample_limit"] == 10000


def test_it_asks_itself_with_a_password_from_a_file() -> None:
    own = jobs()["prometheus"]
    assert own["basic_auth"] == {"username": "platform", "password_file": SETTINGS["password_file"]}
    assert own["static_configs"][0]["labels"] == {"set": "platform", "workload": "prometheus"}


def test_alertmanagers_and_jobs_of_the_site() -> None:
    addresses = ["https://alerts.example.org/am", "http://192.0.2.7:9093"]
    managers = prometheus_config({**SETTINGS, "alertmanagers": addresses})["alerting"]["alertmanagers"]
    assert [(item["scheme"], item["path_prefix"], item["static_configs"][0]["targets"]) for item in managers] == [
        ("https", "/am", ["alerts.example.org"]),
        ("http", "/", ["192.0.2.7:9093"]),
    ]
    assert prometheus_egress(addresses) == [
        {"host": "alerts.example.org", "port": 443},
        {"host": "192.0.2.7", "port": 9093},
    ]
    assert "alerting" not in prometheus_config(SETTINGS)
    assert "node" in jobs(scrape_configs=[{"job_name": "node"}])
    with pytest.raises(AnsibleFilterError, match="more than one job platform"):
        jobs(scrape_configs=[{"job_name": "platform"}])
    with pytest.raises(AnsibleFilterError, match="alerts is no address"):
        prometheus_config({**SETTINGS, "alertmanagers": ["alerts"]})


def test_users_are_hashed_and_hashed_alike_in_each_run() -> None:
    passwords = {"admin": "a" * 24, "platform": "a" * 24}
    text = prometheus_web_config(passwords, SALT)
    users = yaml.safe_load(text)["basic_auth_users"]
    assert "aaaa" not in text
    assert all(bcrypt.checkpw(passwords[name].encode(), hashed.encode()) for name, hashed in users.items())
    assert users["admin"] != users["platform"], "who has the same password isn't seen"
    assert prometheus_web_config(passwords, SALT) == text
    assert prometheus_web_config(passwords, "t" * 32) != text


@pytest.mark.parametrize(("password", "salt"), [("", SALT), ("p", ""), ("ü" * 37, SALT)])
def test_what_cannot_be_hashed_is_refused_without_saying_it(password: str, salt: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        prometheus_web_config({"admin": password}, salt)
    assert "admin" in str(caught.value)
    assert not password or len(password) == 1 or password not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15s", 15), ("1h30m", 5400), ("30d", 2_592_000), ("500ms", 0.5), ("", -1), ("10", -1), ("s10", -1), ("1m1h", -1)],
)
def test_durations(text: str, seconds: float) -> None:
    assert prometheus_seconds(text) == pytest.approx(seconds)


def test_the_lifecycle_controller_takes_alerts_with_a_login() -> None:
    receiver = {"address": "http://lifecycle:8080", "username": "prometheus", "password_file": "/run/secrets/p"}
    found = prometheus_config({**SETTINGS, "alertmanagers": ["https://a.example.org"], "receiver": receiver})
    site, own = found["alerting"]["alertmanagers"]
    assert "basic_auth" not in site
    assert own["basic_auth"] == {"username": "prometheus", "password_file": "/run/secrets/p"}
    assert own["static_configs"] == [{"targets": ["lifecycle:8080"]}] and own["path_prefix"] == "/"
