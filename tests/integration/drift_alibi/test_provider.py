# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The provider with the real Alibi Detect 0.11.4, in its image: built by the roles, hardened, offline."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "images"))

from image_site import clean, docker, find_buildkit, lend, make_site  # noqa: E402

NAME, ADDRESS, IMAGE = "mlops-alibi", "127.0.0.1:5056", "drift_detector_alibi"

CHECKS = (
    "ksdrift",
    "cvmdrift",
    "chisquare",
    "tabular",
    "mmd",
    "lsdd",
    "mmd_online",
    "lsdd_online",
    "refusals",
)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image's reference by digest."""
    if find_buildkit() is None or not docker("info", "--format", "{{.ServerVersion}}", check=False):
        pytest.skip("no Docker engine with BuildKit answers")
    clean(NAME, ADDRESS)
    lend(ADDRESS, "base", "python_build", "registry", IMAGE)
    site = make_site(tmp_path_factory.mktemp("site"), NAME, ADDRESS)
    try:
        yield site.run(images_wanted=[IMAGE], timeout=2400).images[IMAGE]
    finally:
        clean(NAME, ADDRESS)


@pytest.fixture(scope="module")
def outcomes(image: str) -> dict[str, str | None]:
    said = docker(
        "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--memory", "2g",
        "--mount", "type=tmpfs,destination=/tmp,tmpfs-mode=1777",
        "--volume", f"{HERE / 'provider.py'}:/provider.py:ro", image, "python", "/provider.py",
        timeout=1800,
    )  # fmt: skip
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert len(lines) == len(CHECKS), said[-2000:]
    return {line["check"]: line["error"] for line in lines}


@pytest.mark.parametrize("check", CHECKS)
def test_the_provider(check: str, outcomes: dict[str, str | None]) -> None:
    assert outcomes[check] is None, outcomes[check]
