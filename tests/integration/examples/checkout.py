# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A copy of the land cover example, made as the playbook makes it, and environments of locks, made once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "landcover"
for folder in (ROOT / ".collections", ROOT / "tests" / "unit" / "examples"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from ansible_collections.mlops.onprem.plugins.modules.model_source import (  # noqa: E402 - found only now
    default_cache,
    make_environment,
    prepare,
)
from ansible_collections.mlops.onprem.plugins.plugin_utils.model_filters import model_plan  # noqa: E402


def python_of(lock: Path) -> Path:
    """The interpreter of a lock's environment."""
    return make_environment(lock, default_cache(), 1800) / "bin/python"


def copy_to(directory: Path) -> Path:
    """What is in the repository, without what is made."""
    shutil.copytree(EXAMPLE, directory, ignore=shutil.ignore_patterns("build", "__pycache__"))
    return directory


def train(code: Path) -> None:
    (plan,) = model_plan([str(code / "model.yml")], str(code))
    assert plan["prepare"], "it has to be made"
    given = {**plan["prepare"], "python_path": [str(ROOT / "runtime/src")], "cache": str(default_cache())}
    prepare(given, code)


def run(command: list[Any], **env: str) -> str:
    """What it prints; its log where it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout
