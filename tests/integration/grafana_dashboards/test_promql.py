# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Every expression is one that Prometheus itself takes, and answers from what the platform exposes."""

from __future__ import annotations

from pathlib import Path

import dashboards
import prometheus as server
import pytest
import yaml

QUERIES = [query for query in dashboards.queries() if query.kind == dashboards.METRICS]

if reason := server.missing():
    pytest.skip(reason, allow_module_level=True)


def test_promtool_takes_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"q:{index}", "expr": dashboards.promql(query, "phishing"), "labels": {"panel": query.name}}
        for index, query in enumerate(QUERIES)
    ]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = server.promtool("check", "rules", tmp_path / "panels.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(QUERIES)} rules found" in done.stdout
