# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs ansible-test sanity on a copy of the tracked files, laid out as ansible-test wants it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPY = ROOT / "tests" / "output" / "ansible_collections" / "mlops" / "onprem"
LEFT_OUT = (".collections/", ".ci/")


def main() -> int:
    shutil.rmtree(COPY, ignore_errors=True)
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        if name.startswith(LEFT_OUT) or not (ROOT / name).is_file():
            continue
        (COPY / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, COPY / name)
    subprocess.run(["git", "init", "--quiet"], cwd=COPY, check=True)
    subprocess.run(["git", "add", "--all"], cwd=COPY, check=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return subprocess.run(
        ["ansible-test", "sanity", "--color", "no", "--python", version, "--venv", *sys.argv[1:]], cwd=COPY, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
