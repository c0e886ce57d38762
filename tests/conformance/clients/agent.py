# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs inside the cluster: asks the agent what runs where, and is refused what it has no right to."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

AGENT = "http://agent:8080"
EXPECTED = os.environ["EXPECTED"].split()


def ask(path: str, token: str = "", method: str = "GET") -> tuple[int, dict]:
    request = urllib.request.Request(AGENT + path, method=method)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, {}


token = Path("/run/secrets/agent_token_operator").read_text().strip()
problems = []
for wrong in ("", token[::-1]):
    status, found = ask("/v1/workloads", wrong)
    if status != 401:
        problems.append(f"without the operator's token: {status}")
status, found = ask("/v1/sets/platform", token, "DELETE")
if status != 403:
    problems.append(f"the platform's own set could be removed: {status}")
status, found = ask("/v1/workloads", token)
if status != 200:
    problems.append(f"with the operator's token: {status}")
known = {item["name"]: item for item in found.get("workloads", [])}
for name in EXPECTED:
    item = known.get(name)
    if item is None:
        problems.append(f"{name}: not known")
        continue
    well = [task for task in item["tasks"] if task["healthy"]]
    if not item["healthy"] or len(well) < item["replicas"]:
        problems.append(f"{name}: {item['status']}, {len(well)} of {item['replicas']} healthy")
    if not all(task["node"] and task["addresses"] for task in well):
        problems.append(f"{name}: it isn't said where it runs: {well}")
print("\n".join(problems) or f"all {len(EXPECTED)} are known, healthy, and somewhere")
sys.exit(1 if problems else 0)
