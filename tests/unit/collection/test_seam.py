# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""No role knows a target, but the one that applies workloads and those that make clusters and bring images."""

from __future__ import annotations

import re
from pathlib import Path

ROLES = Path(__file__).resolve().parents[3] / "roles"
KNOW_A_TARGET = {"workload", "swarm_cluster", "kubernetes_cluster", "images", "registry"}
TARGET = re.compile(r"\b(swarm|kubernetes|k8s)\b", re.IGNORECASE)


def test_tasks_name_no_target() -> None:
    found = [
        f"{path.relative_to(ROLES)}:{number}: {line.strip()}"
        for path in sorted(ROLES.glob("*/tasks/*.yml"))
        if path.relative_to(ROLES).parts[0] not in KNOW_A_TARGET
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if TARGET.search(line)
    ]
    assert len(list(ROLES.glob("*/tasks/*.yml"))) > 20
    assert found == []
