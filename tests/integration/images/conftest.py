# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A site with a registry of its own on a port of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from image_site import Site, clean, docker, find_buildkit, lend, make_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site on this machine alone, its registry running."""
    if find_buildkit() is None or not docker("info", "--format", "{{.ServerVersion}}", check=False):
        pytest.skip("no Docker engine with BuildKit answers")
    name, address = "mlops-it", "127.0.0.1:5055"
    clean(name, address)
    lend(address, "base", "python_build", "registry")
    made = make_site(tmp_path_factory.mktemp("site"), name, address)
    made.run()
    yield made
    clean(name, address)
