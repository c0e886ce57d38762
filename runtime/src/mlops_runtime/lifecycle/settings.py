# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the controller is told by its environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from _model_spec import Broker, Platform
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from mlops_runtime.contracts import environment
from mlops_runtime.contracts.settings import SettingsError, Tracking, from_file, number, read_tracking


@dataclass(frozen=True)
class Serving:
    """How serving follows the registry."""

    agent: str
    token: str = field(repr=False)
    platform: Platform
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Workload name -> part of a workload, merged over it."""
    set_name: str = "models"
    builds_images: bool = False
    """Whether a version whose lock has no image gets one without anybody's help."""


@dataclass(frozen=True)
class Settings:
    database: str = field(repr=False)
    """libpq's connection string, with the password."""
    tracking: Tracking
    clients_file: Path
    prefect: str
    prefect_auth: str = field(default="", repr=False)
    poll_seconds: float = 2.0
    settle_seconds: float = 300.0
    silent_seconds: float = 6 * 3600.0
    runs: int = 1
    host: str = "0.0.0.0"  # noqa: S104 a container's only interface to its zone
    port: int = 8080
    inside_port: int = 8081
    """For probes and Prometheus, which no gateway leads to."""
    serving: Serving | None = None
    """None: serving is left to others."""


def read_database(env: Mapping[str, str]) -> str:
    """Raises SettingsError."""
    given = env.get(environment.LIFECYCLE_DATABASE, "")
    if not given:
        raise SettingsError(f"{environment.LIFECYCLE_DATABASE} is not set: postgresql://user@host:port/name")
    try:
        parts = conninfo_to_dict(given)
    except psycopg.ProgrammingError:
        raise SettingsError(
            f"{environment.LIFECYCLE_DATABASE} is no connection string of PostgreSQL's, such as "
            "postgresql://user@host:port/name"
        ) from None
    if "password" in parts:
        raise SettingsError(
            f"{environment.LIFECYCLE_DATABASE} has a password in it: put it into a file and name that in "
            f"{environment.LIFECYCLE_DATABASE_PASSWORD_FILE}"
        )
    password = from_file(env, "", environment.LIFECYCLE_DATABASE_PASSWORD_FILE)
    return make_conninfo(given, **({"password": password} if password else {}))


def read_settings(env: Mapping[str, str]) -> Settings:
    """Raises SettingsError."""
    tracking, clients = read_tracking(env), env.get(environment.LIFECYCLE_CLIENTS_FILE, "")
    prefect = env.get(environment.LIFECYCLE_PREFECT, "")
    if not tracking.uri:
        raise SettingsError(f"{environment.TRACKING_URI} is not set: where are the models registered?")
    if not clients:
        raise SettingsError(f"{environment.LIFECYCLE_CLIENTS_FILE} is not set: who may send alerts, and approve?")
    address = urlsplit(prefect)
    if address.scheme not in ("http", "https") or not address.hostname or address.password:
        raise SettingsError(
            f"{environment.LIFECYCLE_PREFECT} must be Prefect's API without a password, such as http://prefect:4200/api"
        )
    return Settings(
        database=read_database(env),
        tracking=tracking,
        clients_file=Path(clients),
        prefect=prefect,
        prefect_auth=from_file(env, "", environment.LIFECYCLE_PREFECT_AUTH_FILE),
        poll_seconds=number(env, environment.LIFECYCLE_POLL_SECONDS, Settings.poll_seconds, 0.1, 600),
        settle_seconds=number(env, environment.LIFECYCLE_SETTLE_SECONDS, Settings.settle_seconds, 0, 86_400),
        silent_seconds=number(env, environment.LIFECYCLE_SILENT_SECONDS, Settings.silent_seconds, 1, 30 * 86_400),
        runs=int(number(env, environment.LIFECYCLE_RUNS, Settings.runs, 1, 1000)),
        host=env.get(environment.LIFECYCLE_HOST) or Settings.host,
        port=int(number(env, environment.LIFECYCLE_PORT, Settings.port, 1, 65535)),
        inside_port=int(number(env, environment.LIFECYCLE_INSIDE_PORT, Settings.inside_port, 1, 65535)),
        serving=_read_serving(env),
    )


def _read_serving(env: Mapping[str, str]) -> Serving | None:
    agent = env.get(environment.LIFECYCLE_AGENT, "")
    if not agent:
        return None
    token = from_file(env, "", environment.LIFECYCLE_AGENT_TOKEN_FILE)
    if urlsplit(agent).scheme not in ("http", "https") or not token:
        raise SettingsError(
            f"{environment.LIFECYCLE_AGENT} must be an http address, and {environment.LIFECYCLE_AGENT_TOKEN_FILE} the "
            "file with the token for it"
        )
    name = env.get(environment.LIFECYCLE_SET) or Serving.set_name
    platform, overrides = _read_platform(env.get(environment.LIFECYCLE_PLATFORM_FILE, ""))
    return Serving(agent, token, platform, overrides, name, env.get(environment.LIFECYCLE_IMAGE_BUILDER) == "true")


def _read_platform(path: str) -> tuple[Platform, Mapping[str, Mapping[str, Any]]]:
    """`{"name": "mlops", "broker": <the contract>, "overrides": {...}, ...}`: `Platform`'s fields, and overrides."""
    try:
        document = json.loads(Path(path).read_bytes())
        broker, overrides = document.pop("broker", None), document.pop("overrides", None) or {}
        if not all(isinstance(one, Mapping) for one in overrides.values()):
            raise TypeError("overrides must be a mapping of workload names to mappings")
        return Platform(**document, broker=Broker.of(broker) if broker else None), overrides
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingsError(f"{environment.LIFECYCLE_PLATFORM_FILE}: {path!r} can't be used: {error!r}") from error
