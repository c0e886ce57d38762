# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The examples of all modules, by ansible-playbook."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from prefect import AUTH, ROOT, Prefect

ORDER = (
    "work_pool",
    "deployment",
    "flow_run",
    "work_pool_info",
    "deployment_info",
    "flow_run_info",
    "automation",
    "automation_info",
)


def test_the_examples_run_as_documented(prefect: Prefect, flows: Path, tmp_path: Path) -> None:
    """What takes something away comes last, and what pauses nearly so."""
    tasks: list[list[dict[str, Any]]] = [[], [], []]
    for name in ORDER:
        module = importlib.import_module(f"ansible_collections.mlops.onprem.plugins.modules.prefect_{name}")
        text = module.EXAMPLES.replace("http://prefect.localhost", f"http://prefect.localhost:{prefect.port}")
        for task in yaml.safe_load(text.replace("/srv/flows", str(flows))):
            options = task[f"mlops.onprem.prefect_{name}"]
            tasks[2 if options.get("state") == "absent" else 1 if "paused" in options else 0].append(task)
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable, "prefect_auth_string": AUTH},
        "tasks": [task for some in tasks for task in some],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    command = ["ansible-playbook", "-i", "localhost,", "-c", "local", "--diff", str(tmp_path / "play.yml")]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {**os.environ, "PATH": path, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    with prefect.worker("training"):
        done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert AUTH not in done.stdout + done.stderr
    assert prefect.api("POST", "/work_pools/count", {"work_pools": {"name": {"any_": ["training"]}}}) == 0
