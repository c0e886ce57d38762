# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What real servers of the tests can't show: old ones, and trouble that concerns every login."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._services.connection import ServiceError
from ansible_collections.mlops.onprem.plugins.module_utils._services.database_check import Admin, DatabaseCheck, Grant
from ansible_collections.mlops.onprem.plugins.module_utils._services.postgresql import PostgresqlError

GRANTS = [
    Grant("mlflow", "mlflow", "mlflow", "mlflow", "mlflow", "mlflow_db_password", "x", "owner"),
    Grant("mlflow", "mlflow", "mlflow", "mlflow_gc", "gc", "mlflow_gc_db_password", "y", "writer"),
]
ADMIN = Admin("admin", "z", "postgres", "postgresql_admin_password")


class FakeServer:
    """Answers each statement by its first match."""

    def __init__(self, error: ServiceError | None = None, **answers: str) -> None:
        self.error = error
        self.answers = {
            "server_version_num": "150014",
            "server_version": "15.14",
            "read_only": "off",
            "server_encoding": "UTF8",
            "has_schema_privilege": "t",
            **answers,
        }
        self.logins = 0

    def login(self, user: str, password: str, database: str) -> FakeServer:
        self.logins += 1
        if self.error is not None:
            raise self.error
        return self

    def value(self, statement: str, *parameters: str) -> str | None:
        return next((answer for text, answer in self.answers.items() if text in statement), None)

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *given: object) -> None:
        pass

    def __str__(self) -> str:
        return "db:5432"


def problems(server: FakeServer, admin: Admin | None = None) -> list[str]:
    anything: Any = server
    check = DatabaseCheck(anything, owner="mlops.onprem (x)")
    check.look(GRANTS, admin)
    return check.problems


def test_nothing_is_wrong() -> None:
    assert problems(FakeServer()) == []


@pytest.mark.parametrize("admin", [None, ADMIN])
def test_an_old_server(admin: Admin | None) -> None:
    found = problems(FakeServer(server_version_num="130022", server_version="13.22"), admin)
    assert found == ["mlops_database_host: db:5432 is PostgreSQL 13.22, and 14 or newer is needed"]


@pytest.mark.parametrize("admin", [None, ADMIN])
@pytest.mark.parametrize(
    ("error", "variable"),
    [
        (ServiceError("host", "no such name"), "mlops_database_host"),
        (ServiceError("port", "refused"), "mlops_database_port"),
        (ServiceError("ca", "not signed by it"), "mlops_database_ca"),
        (ServiceError("tls", "expired"), "mlops_database_sslmode"),
        (ServiceError("sslmode", "no TLS"), "mlops_database_sslmode"),
        (ServiceError("login", "wants a ticket"), "mlops_database_host"),
        (PostgresqlError("53300", "too many clients"), "mlops_database_host"),
    ],
)
def test_what_concerns_every_login_is_said_once(admin: Admin | None, error: ServiceError, variable: str) -> None:
    server = FakeServer(error)
    assert problems(server, admin) == [f"{variable}: {error.message}"]
    assert server.logins == 1


def test_what_concerns_one_login_does_not_hide_the_others() -> None:
    found = problems(FakeServer(PostgresqlError("28P01", "no")))
    assert [text.split(":")[0] for text in found] == [
        "mlops_secrets.mlflow_db_password",
        "mlops_secrets.mlflow_gc_db_password",
    ]
