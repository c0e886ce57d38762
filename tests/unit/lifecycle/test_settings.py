# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the environment may say."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlops_runtime.contracts.settings import SettingsError
from mlops_runtime.lifecycle.settings import read_settings

LEAST = {
    "MLOPS_LIFECYCLE_DATABASE": "postgresql://lifecycle@postgresql:5432/lifecycle",
    "MLOPS_LIFECYCLE_CLIENTS_FILE": "/run/secrets/clients",
    "MLOPS_LIFECYCLE_PREFECT": "http://prefect:4200/api",
    "MLFLOW_TRACKING_URI": "http://mlflow:5000",
}


def test_the_least() -> None:
    settings = read_settings(LEAST)
    assert (settings.poll_seconds, settings.settle_seconds, settings.runs, settings.port) == (2.0, 300.0, 1, 8080)


def test_passwords_come_from_files_and_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "database").write_text("it's a secret\n")
    (tmp_path / "prefect").write_text("admin:another secret\n")
    settings = read_settings(
        {
            **LEAST,
            "MLOPS_LIFECYCLE_DATABASE_PASSWORD_FILE": str(tmp_path / "database"),
            "MLOPS_LIFECYCLE_PREFECT_AUTH_FILE": str(tmp_path / "prefect"),
        }
    )
    assert "it\\'s a secret" in settings.database and settings.prefect_auth == "admin:another secret"
    assert "secret'" not in repr(settings) and "another secret" not in repr(settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MLOPS_LIFECYCLE_DATABASE": ""}, "MLOPS_LIFECYCLE_DATABASE is not set"),
        ({"MLOPS_LIFECYCLE_DATABASE": "host"}, "is no connection string of PostgreSQL's"),
        ({"MLOPS_LIFECYCLE_DATABASE": "postgresql://a:hidden@b/c"}, "has a password in it: put it into a file"),
        ({"MLOPS_LIFECYCLE_DATABASE_PASSWORD_FILE": "/nowhere"}, "DATABASE_PASSWORD_FILE: .*No such file"),
        ({"MLOPS_LIFECYCLE_CLIENTS_FILE": ""}, "MLOPS_LIFECYCLE_CLIENTS_FILE is not set"),
        ({"MLOPS_LIFECYCLE_PREFECT": "prefect:4200"}, "MLOPS_LIFECYCLE_PREFECT must be"),
        ({"MLOPS_LIFECYCLE_PREFECT": "http://a:hidden@b/api"}, "MLOPS_LIFECYCLE_PREFECT must be .* without a password"),
        ({"MLFLOW_TRACKING_URI": ""}, "MLFLOW_TRACKING_URI is not set"),
        ({"MLOPS_LIFECYCLE_RUNS": "0"}, "MLOPS_LIFECYCLE_RUNS: '0' is not a number from 1"),
        ({"MLOPS_LIFECYCLE_SETTLE_SECONDS": "-1"}, "MLOPS_LIFECYCLE_SETTLE_SECONDS: '-1' is not a number"),
    ],
)
def test_what_cant_be_used(changes: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as raised:
        read_settings({**LEAST, **changes})
    assert "hidden" not in str(raised.value)
