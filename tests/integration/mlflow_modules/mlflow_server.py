# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the fixtures hand out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "servers"))

from mlflow import ADMIN, PASSWORD, Mlflow  # noqa: E402
from process import free_port  # noqa: E402

__all__ = ["ADMIN", "HALF", "PASSWORD", "REFUSE", "ROOT", "SLOW", "Call", "Proxy", "Server", "free_port"]

HALF, SLOW, REFUSE = "half", "slow", "refuse"


class Server(Mlflow):
    """With its own client, and with a look at all that it holds."""

    def python(self, code: str, *args: str, user: str = ADMIN, password: str = PASSWORD, uri: str = "") -> str:
        """Run MLflow's own client as a user."""
        given = {
            "MLFLOW_TRACKING_URI": uri or self.uri,
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": password,
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        }
        command = [self.venv / "bin/python", "-c", code, *args]
        done = subprocess.run(command, env={**os.environ, **given}, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def state(self) -> dict[str, Any]:
        """What is registered, and which runs and logged models are alive."""
        ids = [
            one["experiment_id"] for one in self.api("POST", "experiments/search", {"max_results": 1000})["experiments"]
        ]
        runs = self.api("POST", "runs/search", {"experiment_ids": ids, "max_results": 1000}).get("runs", [])
        models = self.api("POST", "logged-models/search", {"experiment_ids": ids}).get("models", [])
        registered = self.api("GET", "registered-models/search?max_results=100").get("registered_models", [])
        versions = self.api("GET", "model-versions/search?max_results=1000").get("model_versions", [])
        return {
            "runs": sorted(run["info"]["run_id"] for run in runs),
            "logged_models": sorted(model["info"]["model_id"] for model in models),
            "registered_models": sorted(model["name"] for model in registered),
            "versions": sorted((version["name"], version["version"]) for version in versions),
        }


@dataclass
class Proxy:
    """Stands before MLflow. ``fault`` sees method, path and how often they came, and says what goes wrong."""

    port: int
    fault: Callable[[str, str, int], Any] = lambda method, path, times: None
    seen: list[tuple[str, str]] = field(default_factory=list)
    alter: bool = False

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, method: str, part: str) -> int:
        return sum(one == method and part in path for one, path in self.seen)


Call = Callable[..., dict[str, Any]]
