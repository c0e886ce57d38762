# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the archive is told by its environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from mlops_runtime.contracts import environment
from mlops_runtime.contracts.broker import client_settings
from mlops_runtime.contracts.prediction_record import DEFAULT_PREFIX
from mlops_runtime.contracts.settings import SettingsError, Tracking, number, read_tracking
from mlops_runtime.drift.archive.store import EXPERIMENT

_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1), "y": timedelta(days=365)}


@dataclass(frozen=True)
class Settings:
    broker: Mapping[str, Any]
    tracking: Tracking
    prefix: str = DEFAULT_PREFIX
    group: str = "archive"
    experiment: str = EXPERIMENT
    retention: timedelta | None = None
    """Of models that don't say it; None: for ever."""
    messages: int = 50_000
    """That a chunk has at most."""
    bytes: int = 8 * 2**20
    """That a chunk has at most, as they came; writing it takes some ten times as much for a moment."""
    seconds: float = 900.0
    """After which a chunk is written, full or not."""
    held_bytes: int = 64 * 2**20
    """Of all chunks that are growing; with more, the largest is written."""
    poll_seconds: float = 30.0
    port: int = 9000


def duration(text: str) -> timedelta:
    """`12h`, `30d`, `8w`, `2y`. Raises ValueError."""
    found = re.fullmatch(r"([1-9]\d{0,5})([hdwy])", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no span of time such as 30d, 12h, 8w or 2y")
    return int(found[1]) * _UNITS[found[2]]


def read_settings(env: Mapping[str, str]) -> Settings:
    """Raises SettingsError."""
    tracking, retention = read_tracking(env), env.get(environment.ARCHIVE_RETENTION, "")
    if not tracking.uri:
        raise SettingsError(f"{environment.TRACKING_URI} is not set: where is the archive to be kept?")
    try:
        kept = duration(retention) if retention else None
    except ValueError as error:
        raise SettingsError(f"{environment.ARCHIVE_RETENTION}: {error}") from error
    return Settings(
        broker=client_settings(env),
        tracking=tracking,
        prefix=env.get(environment.TOPIC_PREFIX) or DEFAULT_PREFIX,
        group=env.get(environment.ARCHIVE_GROUP) or Settings.group,
        experiment=env.get(environment.ARCHIVE_EXPERIMENT) or EXPERIMENT,
        retention=kept,
        messages=int(number(env, environment.ARCHIVE_MESSAGES, Settings.messages, 1, 1e6)),
        seconds=number(env, environment.ARCHIVE_SECONDS, Settings.seconds, 0.1, 86_400),
        poll_seconds=number(env, environment.ARCHIVE_POLL_SECONDS, Settings.poll_seconds, 0.1, 3600),
        port=int(number(env, environment.ARCHIVE_PORT, Settings.port, 0, 65535)),
    )
