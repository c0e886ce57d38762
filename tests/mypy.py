# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Runs mypy, strict, on both floors: plugins/module_utils under its collection's name, and runtime/src; and on the
conformance scripts, which nothing but a whole platform would run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MYPY = [sys.executable, "-m", "mypy", f"--config-file={ROOT / 'pyproject.toml'}"]


def main() -> int:
    plugins = [*MYPY, "-p", "ansible_collections.mlops.onprem.plugins.module_utils"]
    runtime = [*MYPY, "-p", "mlops_runtime"]
    conformance = ROOT / "tests" / "conformance"
    scripts = [*MYPY, *sorted(file.name for file in conformance.glob("*.py"))]
    codes = [
        subprocess.run(plugins, cwd=ROOT / ".collections", check=False).returncode,
        subprocess.run(runtime, cwd=ROOT / "runtime" / "src", check=False).returncode,
        subprocess.run(scripts, cwd=conformance, check=False).returncode,
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
