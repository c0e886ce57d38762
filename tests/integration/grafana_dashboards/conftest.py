# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""One PostgreSQL with the ledger's schema and its reader, made as the platform makes them; and promtool."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
for folder in (Path(__file__).parent, ROOT / "tests/servers", ROOT / "tests/conformance"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from ledger_job import Job  # noqa: E402 - found only now
from postgresql import Postgresql, programs  # noqa: E402


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgresql]:
    if programs() is None:
        pytest.skip("PostgreSQL's programs are not here (apt-get install postgresql)")
    with Postgresql.started(tmp_path_factory.mktemp("postgresql") / "log") as running:
        yield running


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory, postgresql: Postgresql) -> Job:
    return Job(tmp_path_factory.mktemp("job"), postgresql)
