# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A task that uses one filter of the collection imports them all, in a process of its own: what they bring counts a
hundred times in a run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FILTERS = "ansible_collections.mlops.onprem.plugins.filter"
SDKS = {"docker", "kubernetes", "requests", "urllib3"}


def test_filters_bring_no_sdk() -> None:
    names = [f"{FILTERS}.{path.stem}" for path in (ROOT / "plugins" / "filter").glob("[a-z]*.py")]
    assert len(names) > 5
    program = f"""
import importlib, json, sys
import ansible.errors
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader()
before = set(sys.modules)
for name in {names!r}:
    importlib.import_module(name)
print(json.dumps(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})))
"""
    environment = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert SDKS.isdisjoint(json.loads(done.stdout))
