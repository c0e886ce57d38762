# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The steps of the ledger's schema; a real PostgreSQL takes them in the integration tests."""

from __future__ import annotations

from mlops_runtime.lifecycle.ledger.database import migrations


def test_steps_are_numbered_without_gaps() -> None:
    steps = migrations()
    assert [number for number, _ in steps] == list(range(1, len(steps) + 1))
    assert all("CREATE TABLE" in sql or "ALTER TABLE" in sql for _, sql in steps)
