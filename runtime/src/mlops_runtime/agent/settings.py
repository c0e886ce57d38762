# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The agent's settings, from its environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """What the agent is told. Each is an environment variable `MLOPS_AGENT_<NAME>`, upper case."""

    namespace: str = "mlops"
    """The platform's name: the agent sees and changes nothing else."""
    target: str = "swarm"
    """What the cluster is; the seam knows the names."""
    kubernetes: Mapping[str, Any] = field(default_factory=dict)
    """JSON object of the seam's options of this name; empty for a target that takes none."""
    domain: str = "localhost"
    """Routes' hosts are this domain, or labels before it."""
    domain_aliases: tuple[str, ...] = ()
    """Other names by which the domain itself is called; comma-separated."""
    tls: bool = False
    """Routes are for the gateway's TLS entry point."""
    registry: str = ""
    """The site's registry, host:port: clients' images come from there alone."""
    registry_auth_file: Path | None = None
    """JSON object `{username, password}` with which nodes pull from it."""
    tokens_file: Path | None = None
    """Clients and their rights (clients.py)."""
    secrets_dir: Path | None = None
    """Files whose values clients' workloads may mount, by name."""
    host: str = "0.0.0.0"  # noqa: S104 - a container's only interface to its zone
    port: int = 8080
    resync_seconds: float = 1.0
    """The cluster is looked at again after so long without an event."""
    wait_seconds: int = 600
    """How long a set may take to become healthy."""
    runs: int = 50
    """How many runs each client may have at once."""
    runs_keep_seconds: float = 86400.0
    """A run that has ended so long ago is removed, whoever may still want to know of it."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Raises ValueError naming the variable that can't be understood."""

        def text(name: str, default: str) -> str:
            return environment.get(f"MLOPS_AGENT_{name}", "").strip() or default

        def path(name: str) -> Path | None:
            value = text(name, "")
            return Path(value) if value else None

        def number(name: str, default: float, low: float, high: float) -> float:
            value = text(name, str(default))
            try:
                found = float(value)
            except ValueError:
                found = float("nan")
            if not low <= found <= high:
                raise ValueError(f"MLOPS_AGENT_{name}: {value!r} is not a number from {low:g} to {high:g}")
            return found

        def options(name: str) -> dict[str, Any]:
            try:
                found = json.loads(text(name, "{}"))
            except ValueError:
                found = None
            if not isinstance(found, dict):
                raise ValueError(f"MLOPS_AGENT_{name}: is not a JSON object")
            return found

        tls = text("TLS", "false").lower()
        if tls not in ("true", "false"):
            raise ValueError(f"MLOPS_AGENT_TLS: {tls!r} is neither true nor false")
        return cls(
            namespace=text("NAMESPACE", cls.namespace),
            target=text("TARGET", cls.target),
            kubernetes=options("KUBERNETES"),
            domain=text("DOMAIN", cls.domain),
            domain_aliases=tuple(alias.strip() for alias in text("DOMAIN_ALIASES", "").split(",") if alias.strip()),
            tls=tls == "true",
            registry=text("REGISTRY", ""),
            registry_auth_file=path("REGISTRY_AUTH_FILE"),
            tokens_file=path("TOKENS_FILE"),
            secrets_dir=path("SECRETS_DIR"),
            host=text("HOST", cls.host),
            port=int(number("PORT", cls.port, 1, 65535)),
            resync_seconds=number("RESYNC_SECONDS", cls.resync_seconds, 0.2, 60),
            wait_seconds=int(number("WAIT_SECONDS", cls.wait_seconds, 1, 86400)),
            runs=int(number("RUNS", cls.runs, 1, 1000)),
            runs_keep_seconds=number("RUNS_KEEP_SECONDS", cls.runs_keep_seconds, 1, 30 * 86400),
        )
