# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A copy of the tracked files where Ansible's own tools want a collection: ansible_collections/mlops/onprem."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def copy(name: str, *parts: str) -> Path:
    """Copies the tracked files (and new ones that git does not ignore) that begin with one of the parts.

    Returns the collection's folder below tests/output/<name>.
    """
    made = ROOT / "tests" / "output" / name / "ansible_collections" / "mlops" / "onprem"
    shutil.rmtree(made, ignore_errors=True)
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for file in filter(None, listing.stdout.split("\0")):
        if file.startswith(parts) and (ROOT / file).is_file():
            (made / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, made / file)
    subprocess.run(["git", "init", "--quiet"], cwd=made, check=True)
    subprocess.run(["git", "add", "--all"], cwd=made, check=True)
    return made
