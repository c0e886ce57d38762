# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The provider with the real Alibi Detect 0.11.4.

The library wants an environment of its own, with Debian's PyTorch: minutes and a gigabyte. `MLOPS_TEST_ALIBI` names a
Python that has it: that of the image drift_detector_alibi, or an environment made from the image's requirements.txt.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CHECKS = (
    "ksdrift",
    "cvmdrift",
    "chisquare",
    "tabular",
    "mmd",
    "lsdd",
    "mmd_online",
    "lsdd_online",
    "refusals",
)


@pytest.fixture(scope="session")
def outcomes() -> dict[str, str | None]:
    python = os.environ.get("MLOPS_TEST_ALIBI", "")
    if not python:
        pytest.skip("Alibi Detect: MLOPS_TEST_ALIBI names no Python that has it")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "runtime" / "src"), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [python, Path(__file__).parent / "provider.py"], env=environment, capture_output=True, text=True, check=False
    )
    lines = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == len(CHECKS), ran.stderr[-2000:]
    return {line["check"]: line["error"] for line in lines}


@pytest.mark.parametrize("check", CHECKS)
def test_the_provider(check: str, outcomes: dict[str, str | None]) -> None:
    assert outcomes[check] is None, outcomes[check]
