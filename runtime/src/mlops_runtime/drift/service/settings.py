# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the service is told by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_runtime.contracts import environment
from mlops_runtime.contracts.broker import client_settings
from mlops_runtime.contracts.prediction_record import DEFAULT_PREFIX
from mlops_runtime.contracts.settings import SettingsError, Tracking, number, read_tracking


@dataclass(frozen=True)
class Settings:
    broker: Mapping[str, Any]
    """librdkafka's settings of a client."""
    prefix: str = DEFAULT_PREFIX
    group: str = "drift"
    instance: str = ""
    state_topic: str = f"{DEFAULT_PREFIX}__drift_state"
    models: Path | None = None
    tracking: Tracking = field(default_factory=lambda: Tracking(""))
    state_directory: Path = Path("/var/lib/mlops-drift")
    snapshot_seconds: float = 5.0
    poll_seconds: float = 10.0
    lag: int = 10_000
    ids: int = 10_000
    port: int = 9000


def read_settings(env: Mapping[str, str]) -> Settings:
    """Raises SettingsError."""
    prefix = env.get(environment.TOPIC_PREFIX) or DEFAULT_PREFIX
    models, tracking = env.get(environment.DRIFT_MODELS, ""), read_tracking(env)
    if not models and not tracking.uri:
        raise SettingsError(f"neither {environment.TRACKING_URI} nor {environment.DRIFT_MODELS} is set: which models?")
    return Settings(
        broker=client_settings(env),
        prefix=prefix,
        group=env.get(environment.DRIFT_GROUP) or Settings.group,
        instance=env.get(environment.DRIFT_INSTANCE, ""),
        state_topic=env.get(environment.DRIFT_STATE_TOPIC) or f"{prefix}__drift_state",
        models=Path(models) if models else None,
        tracking=tracking,
        state_directory=Path(env.get(environment.STATE_DIRECTORY) or Settings.state_directory),
        snapshot_seconds=number(env, environment.DRIFT_SNAPSHOT_SECONDS, Settings.snapshot_seconds, 0.05, 3600),
        poll_seconds=number(env, environment.DRIFT_POLL_SECONDS, Settings.poll_seconds, 0.1, 3600),
        lag=int(number(env, environment.DRIFT_LAG, Settings.lag, 1, 1e12)),
        ids=int(number(env, environment.DRIFT_IDS, Settings.ids, 0, 1e6)),
        port=int(number(env, environment.DRIFT_PORT, Settings.port, 0, 65535)),
    )
