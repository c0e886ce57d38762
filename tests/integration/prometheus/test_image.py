# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the image adds to Debian's package: the health check, which has a login."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import prometheus as server
from ansible_collections.mlops.onprem.plugins.filter.prometheus import prometheus_web_config

IMAGE = Path(__file__).resolve().parents[3] / "images/prometheus"


def test_the_health_check_asks_with_the_password_of_a_file(tmp_path: Path) -> None:
    users = prometheus_web_config({"platform": "the-password"}, "salt")

    def ready(password: str) -> tuple[int, str]:
        (tmp_path / "password").write_text(password)
        command = [sys.executable, "-SsE", tmp_path / "ready", "platform", tmp_path / "password"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return done.returncode, done.stderr.strip()

    login = ("platform", "the-password")
    with server.Prometheus.started(tmp_path / "server", {}, users=users, login=login) as prometheus:
        check = (IMAGE / "prometheus-ready").read_text()
        # In its container it is alone at its port; here it isn't.
        (tmp_path / "ready").write_text(check.replace("9090", str(prometheus.port)))
        assert ready("the-password") == (0, "")
        assert ready("the-password\n") == (0, "")
        assert ready("another") == (1, "401 Unauthorized")
    code, why = ready("the-password")
    assert code == 1 and "refused" in why
