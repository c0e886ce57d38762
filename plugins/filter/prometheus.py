# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that make Prometheus's configuration."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible.errors import AnsibleFilterError

try:
    import bcrypt
except ImportError:
    bcrypt = None

REFRESH = "5s"
"""How often the agent is asked what runs: a new model is scraped as soon."""
OWN = {"set": "platform", "workload": "prometheus"}
BCRYPT_COST = 10
BCRYPT_MOST_BYTES = 72
_STANDARD = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BCRYPT = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_DURATION = re.compile(r"^(?=.)(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$")
_SECONDS = (31_536_000, 604_800, 86_400, 3_600, 60, 1, 0.001)


def prometheus_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Prometheus's configuration; `prometheus_config.yml` says what the settings are.

    The platform's own workloads may name other workloads and models in their series (`honor_labels`), which a model's
    server may not: whatever a model calls its series, they say whose they are.
    """
    agent = str(settings["agent"]).rstrip("/")
    jobs: list[dict[str, Any]] = [
        {
            "job_name": "prometheus",
            "basic_auth": {"username": settings["username"], "password_file": settings["password_file"]},
            "static_configs": [{"targets": ["localhost:9090"], "labels": OWN}],
        },
        {
            "job_name": "platform",
            "honor_labels": True,
            "http_sd_configs": [{"url": f"{agent}/v1/prometheus?set=platform", "refresh_interval": REFRESH}],
        },
        {
            "job_name": "workloads",
            "sample_limit": int(settings["sample_limit"]),
            "http_sd_configs": [{"url": f"{agent}/v1/prometheus?except=platform", "refresh_interval": REFRESH}],
        },
        *(settings.get("scrape_configs") or []),
    ]
    names = [job.get("job_name") for job in jobs]
    if twice := sorted({str(name) for name in names if names.count(name) > 1}):
        raise AnsibleFilterError(f"prometheus_scrape_configs: there is more than one job {', '.join(twice)}")
    managers = [*_managers(settings.get("alertmanagers") or []), *_receiver(settings.get("receiver") or {})]
    return {
        "global": {
            "scrape_interval": settings["scrape_interval"],
            "scrape_timeout": settings["scrape_timeout"],
            "evaluation_interval": settings["evaluation_interval"],
            "external_labels": {"platform": settings["platform"]},
        },
        "rule_files": list(settings.get("rule_files") or []),
        "scrape_configs": jobs,
        **({"alerting": {"alertmanagers": managers}} if managers else {}),
    }


def prometheus_web_config(passwords: Mapping[str, str], salt: str) -> str:
    """Prometheus's file of users: bcrypt hashes, the same for the same passwords and salt, so that a run that changes
    nothing restarts nothing. The salt is as secret and random as a password."""
    users = {user: _bcrypt(user, str(password), str(salt)) for user, password in sorted(passwords.items())}
    return json.dumps({"basic_auth_users": users})


def prometheus_seconds(duration: Any) -> float:
    """Seconds of a duration in Prometheus's notation (`1h30m`, `15s`); -1 for what is none."""
    match = _DURATION.match(str(duration))
    if match is None:
        return -1.0
    return float(sum(int(count) * unit for count, unit in zip(match.groups(), _SECONDS, strict=True) if count))


def prometheus_egress(addresses: Iterable[str]) -> list[dict[str, Any]]:
    """Host and port of each address, as a workload's egress."""
    found = []
    for address in addresses:
        parts = urlsplit(str(address))
        found.append({"host": parts.hostname or "", "port": parts.port or (443 if parts.scheme == "https" else 80)})
    return found


def _managers(addresses: Iterable[str]) -> Iterable[dict[str, Any]]:
    for address in addresses:
        parts = urlsplit(str(address))
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise AnsibleFilterError(f"prometheus_alertmanagers: {address} is no address such as http://host:9093")
        yield {
            "scheme": parts.scheme,
            "path_prefix": parts.path or "/",
            "static_configs": [{"targets": [parts.netloc]}],
        }


def _receiver(receiver: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    """One more that takes alerts as an Alertmanager does, and knows who sends them."""
    for manager in _managers([receiver["address"]] if receiver else []):
        login = {"username": receiver["username"], "password_file": receiver["password_file"]}
        yield {**manager, "basic_auth": login}


def _bcrypt(user: str, password: str, salt: str) -> str:
    if bcrypt is None:
        raise AnsibleFilterError(
            "mlops.onprem.prometheus_web_config needs the Python package bcrypt on the control host"
        )
    if not password or not salt:
        raise AnsibleFilterError(f"mlops.onprem.prometheus_web_config: the password of {user}, or the salt, is empty")
    if len(password.encode()) > BCRYPT_MOST_BYTES:
        raise AnsibleFilterError(f"mlops.onprem.prometheus_web_config: {user}'s password has more than 72 bytes")
    own = base64.b64encode(hashlib.sha256(f"{user}\0{salt}".encode()).digest()[:16]).decode().rstrip("=")
    settings = f"$2b${BCRYPT_COST}${own.translate(str.maketrans(_STANDARD, _BCRYPT))}"
    hashed: bytes = bcrypt.hashpw(password.encode(), settings.encode())
    return hashed.decode()


class FilterModule:
    """Filters about Prometheus."""

    def filters(self) -> dict[str, Any]:
        return {
            "prometheus_config": prometheus_config,
            "prometheus_egress": prometheus_egress,
            "prometheus_seconds": prometheus_seconds,
            "prometheus_web_config": prometheus_web_config,
        }
