# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL, and Prefect's server on it with the settings that the role declares."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
for path in (ROOT / "tests" / "servers", ROOT / "tests" / "conformance", Path(__file__).parent):
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))

from contained import Containers  # noqa: E402 - found only now
from postgresql import Postgresql, programs  # noqa: E402
from stand import DATABASE_PASSWORD, LOGIN, Stand  # noqa: E402


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Nothing of Prefect runs yet, but its database is there, empty."""
    if programs() is None:
        pytest.skip("PostgreSQL's package is not installed here")
    directory = tmp_path_factory.mktemp("prefect")
    secrets = {"prefect_db_password": DATABASE_PASSWORD, "prefect_auth_string": LOGIN}
    with Postgresql.started(directory / "postgresql.log") as database:
        database.make("prefect", DATABASE_PASSWORD)
        with Containers.made(directory, secrets) as containers:
            yield Stand(containers, database)


@pytest.fixture(scope="session")
def server(stand: Stand) -> Stand:
    """Migrated, and the server answers."""
    assert stand.migrate() == 0, stand.containers.said("migrate")
    stand.start_server()
    return stand


@pytest.fixture(scope="session")
def worker(server: Stand) -> Stand:
    """And a worker looks for runs."""
    server.start_worker()
    return server
