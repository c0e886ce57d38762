# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""How a container reads what its environment tells it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlops_runtime.contracts import environment


class SettingsError(ValueError):
    """A variable that can't be used: its name, and what is wrong with it."""


def number(env: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    """Raises SettingsError."""
    text = env.get(name, "").strip()
    try:
        found = float(text) if text else default
    except ValueError:
        found = math.nan
    if not low <= found <= high:
        raise SettingsError(f"{name}: {text!r} is not a number from {low:g} to {high:g}")
    return found


def from_file(env: Mapping[str, str], name: str, file_name: str) -> str:
    """What is in the file that the variable `file_name` names, or else the variable `name`. Raises SettingsError."""
    path = env.get(file_name)
    if not path:
        return env.get(name, "")
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file_name}: {error}") from error


@dataclass(frozen=True)
class Tracking:
    """Where MLflow is, and as whom it is asked."""

    uri: str
    username: str = ""
    password: str = field(default="", repr=False)


def read_tracking(env: Mapping[str, str]) -> Tracking:
    """`uri` is empty where none is named. Raises SettingsError."""
    return Tracking(
        env.get(environment.TRACKING_URI, ""),
        from_file(env, environment.TRACKING_USERNAME, environment.TRACKING_USERNAME_FILE),
        from_file(env, environment.TRACKING_PASSWORD, environment.TRACKING_PASSWORD_FILE),
    )
