# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A task that uses one filter of the collection imports them all, in a process of its own: what they bring counts a
hundred times in a run."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT / ".collections") not in sys.path:
    sys.path.insert(0, str(ROOT / ".collections"))
FILTERS = "ansible_collections.mlops.onprem.plugins.filter"
SDKS = {"cryptography", "docker", "kubernetes", "requests", "urllib3"}


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
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    environment = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    brought = json.loads(done.stdout)
    assert set(names) <= set(brought)
    assert SDKS.isdisjoint(name.partition(".")[0] for name in brought)
    assert [name for name in brought if ".module_utils." in name] == []


def test_each_filter_is_there_and_documented() -> None:
    found: set[str] = set()
    for path in (ROOT / "plugins" / "filter").glob("[a-z]*.py"):
        for name, function in importlib.import_module(f"{FILTERS}.{path.stem}").FilterModule().filters().items():
            found.add(name)
            with pytest.raises(TypeError, match="required positional argument"):
                function()
    assert found == {path.stem for path in (ROOT / "plugins" / "filter").glob("*.yml")}
