# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the service is told by its environment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_runtime.contracts import environment
from mlops_runtime.contracts.broker import client_settings
from mlops_runtime.contracts.prediction_record import DEFAULT_PREFIX


class SettingsError(ValueError):
    """A variable that can't be used: its name, and what is wrong with it."""


@dataclass(frozen=True)
class Settings:
    broker: Mapping[str, Any]
    """librdkafka's settings of a client."""
    prefix: str = DEFAULT_PREFIX
    group: str = "drift"
    instance: str = ""
    state_topic: str = f"{DEFAULT_PREFIX}__drift_state"
    models: Path | None = None
    tracking_uri: str = ""
    tracking_username: str = ""
    tracking_password: str = field(default="", repr=False)
    state_directory: Path = Path("/var/lib/mlops-drift")
    snapshot_seconds: float = 5.0
    poll_seconds: float = 10.0
    lag: int = 10_000
    ids: int = 10_000
    port: int = 9000


def read_settings(env: Mapping[str, str]) -> Settings:
    """Raises SettingsError, and BrokerSettingsError."""

    def number(name: str, default: float, low: float, high: float) -> float:
        text = env.get(name, "").strip()
        try:
            found = float(text) if text else default
        except ValueError:
            found = math.nan
        if not low <= found <= high:
            raise SettingsError(f"{name}: {text!r} is not a number from {low:g} to {high:g}")
        return found

    prefix = env.get(environment.TOPIC_PREFIX) or DEFAULT_PREFIX
    models, uri = env.get(environment.DRIFT_MODELS, ""), env.get(environment.TRACKING_URI, "")
    if not models and not uri:
        raise SettingsError(f"neither {environment.TRACKING_URI} nor {environment.DRIFT_MODELS} is set: which models?")
    return Settings(
        broker=client_settings(env),
        prefix=prefix,
        group=env.get(environment.DRIFT_GROUP) or Settings.group,
        instance=env.get(environment.DRIFT_INSTANCE, ""),
        state_topic=env.get(environment.DRIFT_STATE_TOPIC) or f"{prefix}__drift_state",
        models=Path(models) if models else None,
        tracking_uri=uri,
        tracking_username=_value(env, environment.TRACKING_USERNAME, environment.TRACKING_USERNAME_FILE),
        tracking_password=_value(env, environment.TRACKING_PASSWORD, environment.TRACKING_PASSWORD_FILE),
        state_directory=Path(env.get(environment.STATE_DIRECTORY) or Settings.state_directory),
        snapshot_seconds=number(environment.DRIFT_SNAPSHOT_SECONDS, Settings.snapshot_seconds, 0.05, 3600),
        poll_seconds=number(environment.DRIFT_POLL_SECONDS, Settings.poll_seconds, 0.1, 3600),
        lag=int(number(environment.DRIFT_LAG, Settings.lag, 1, 1e12)),
        ids=int(number(environment.DRIFT_IDS, Settings.ids, 0, 1e6)),
        port=int(number(environment.DRIFT_PORT, Settings.port, 0, 65535)),
    )


def _value(env: Mapping[str, str], name: str, file_name: str) -> str:
    path = env.get(file_name)
    if not path:
        return env.get(name, "")
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise SettingsError(f"{file_name}: {error}") from error
