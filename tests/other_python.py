# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the unit suites on another Python, with the ansible-core that requirements/test.in gives it.

usage: other_python.py 3.12
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from run import ROOT, interpreter


def main(version: str) -> int:
    python = interpreter(version)
    if python is None:
        print(f"SKIP no Python {version} is found here")
        return 0
    made = subprocess.run(
        [ROOT / "bin" / "python-env", "test"],
        env={**os.environ, "MLOPS_PYTHON": python},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    environment = Path(made.stdout.strip())
    subprocess.run([environment / "bin" / "ansible", "--version"], check=True)
    path = f"{environment / 'bin'}:{os.environ['PATH']}"
    command = [environment / "bin" / "python", "-m", "pytest", "tests/unit", "-n2"]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
