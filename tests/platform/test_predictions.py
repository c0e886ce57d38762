# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the gateway answers equals the local model to 1e-6, REST and gRPC; what is wrong gets a 400 with the reason."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from installed import ROOT, Platform
from predictions import EXAMPLE, read_rows


def test_equal_to_the_local_model(platform: Platform) -> None:
    gateway = platform.gateway
    script = [sys.executable, ROOT / "tests/conformance/predictions.py"]
    arguments = [f"--url={gateway.url}", f"--address={gateway.address}", f"--ca={gateway.ca}"]
    done = subprocess.run(
        [*script, *arguments, f"--namespace={platform.name}"], capture_output=True, text=True, timeout=600, check=False
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    print("BAR predictions through the gateway: equal to the local model to 1e-6, 1 and 64 rows, REST and gRPC")


def wrong_bodies() -> dict[str, Any]:
    names, rows = read_rows(EXAMPLE / "build/test.csv", "is_phishing")
    return {
        "too few columns": {"data": {"names": names[:-1], "ndarray": [rows[0][:-1]]}},
        "text for a number": {"data": {"names": names, "ndarray": [["a", *rows[0][1:]]]}},
        "unknown names": {"data": {"names": [f"x{i}" for i in range(len(names))], "ndarray": rows[:1]}},
        "a shape that does not fit": {"data": {"names": names, "tensor": {"shape": [3, 9], "values": rows[0]}}},
        "no data": {"nothing": 1},
    }


@pytest.mark.parametrize(
    "case", ["too few columns", "text for a number", "unknown names", "a shape that does not fit", "no data", "no JSON"]
)
def test_wrong_input_gets_a_reason(platform: Platform, case: str) -> None:
    body = "{" if case == "no JSON" else json.dumps(wrong_bodies()[case])
    path = f"/seldon/{platform.name}/phishing/api/v1.0/predictions"
    answer = platform.gateway.request(path, method="POST", headers={"Content-Type": "application/json"}, body=body)
    assert answer.status == 400, answer.text()
    assert answer.json()["status"]["info"], answer.text()
