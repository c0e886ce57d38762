# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The land cover example, made as the playbook makes it; environments of its locks, made once in the user's cache."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
from recorded_platform import RecordedPlatform  # noqa: E402


@pytest.fixture(scope="session")
def python() -> Callable[[Path], Path]:
    """The interpreter of a lock's environment."""
    return lambda lock: make_environment(lock, default_cache(), 1800) / "bin/python"


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the example in which `prepare` has run."""
    import shutil

    code = tmp_path_factory.mktemp("checkout") / "landcover"
    shutil.copytree(EXAMPLE, code, ignore=shutil.ignore_patterns("build", "__pycache__"))
    train(code)
    return code


def train(code: Path) -> None:
    (plan,) = model_plan([str(code / "model.yml")], str(code))
    assert plan["prepare"], "it has to be made"
    given = {**plan["prepare"], "python_path": [str(ROOT / "runtime/src")], "cache": str(default_cache())}
    prepare(given, Path(plan["prepare"]["directory"]))


@pytest.fixture
def platform() -> Iterator[RecordedPlatform]:
    with RecordedPlatform.started() as running:
        yield running
