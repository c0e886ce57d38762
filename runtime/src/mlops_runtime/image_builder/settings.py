# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the builder is told: one file, since most of it is secret."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from mlops_runtime.contracts.settings import SettingsError, Tracking


@dataclass(frozen=True)
class ImageRegistry:
    """The site's image registry."""

    address: str
    """Host and port, and where there is one the path below which its repositories lie."""
    username: str = ""
    password: str = field(default="", repr=False)
    plain_http: bool = False


@dataclass(frozen=True)
class Settings:
    tracking: Tracking
    registry: ImageRegistry
    base: str
    """The builder's own image: what it makes an image from has to stand on the same base."""
    authorities: str = ""
    """PEM of all that is trusted: the host's, the index's, MLflow's and the image registry's."""
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    """Of the installer: index and proxies, whose addresses may hold credentials."""
    work: Path = Path("/var/lib/image-builder")
    heartbeat: Path = Path("/tmp/heartbeat")  # noqa: S108 the container's own, in memory
    poll_seconds: float = 5.0
    again_seconds: float = 300.0
    """A version whose image couldn't be made is tried again after so long."""
    build_seconds: float = 3600.0


def read_settings(path: Path) -> Settings:
    """Raises SettingsError."""
    try:
        document = json.loads(path.read_bytes())
        return Settings(
            tracking=Tracking(**document.pop("tracking")),
            registry=ImageRegistry(**document.pop("registry")),
            **document,
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        # Not the values: they are secret.
        raise SettingsError(f"{path} can't be used: {type(error).__name__}") from error


def write_authorities(settings: Settings, path: Path) -> Path:
    """A file of all that is trusted. Raises SettingsError."""
    try:
        path.write_text(settings.authorities)
        if settings.authorities.strip():
            ssl.create_default_context().load_verify_locations(cadata=settings.authorities)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"the authorities can't be used: {error}") from error
    return path
