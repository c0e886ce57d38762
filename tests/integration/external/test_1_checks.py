# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the site's own services, against real ones: each problem under its variable's name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._services.bucket_check import Bucket, BucketCheck
from ansible_collections.mlops.onprem.plugins.module_utils._services.database_check import Admin, DatabaseCheck, Grant
from ansible_collections.mlops.onprem.plugins.module_utils._services.s3 import Keys
from site_services import ADMIN_PASSWORD, BUCKET, KEYS, STORE_PORT, Services

OWNER = "mlops.onprem (t-ext-checks)"
USER = Grant("mlflow", "mlflow", "made", "mlflow", "maker", "mlflow_db_password", "maker's password", "owner")
WRITER = Grant("mlflow", "mlflow", "made", "mlflow_gc", "writer", "mlflow_gc_db_password", "wrïter päss", "writer")
ADMIN = Admin("site_admin", ADMIN_PASSWORD, "postgres", "postgresql_admin_password")


@pytest.fixture(scope="module")
def made(services: Services) -> Iterator[Services]:
    """A site that has made a database and its users."""
    services.sql(
        "CREATE ROLE maker LOGIN PASSWORD $$maker's password$$",
        "CREATE ROLE writer LOGIN PASSWORD $$wrïter päss$$",
        "CREATE ROLE plain LOGIN PASSWORD $$plain$$",
        "CREATE DATABASE made OWNER maker",
        "CREATE DATABASE of_another",
        "REVOKE CONNECT ON DATABASE of_another FROM PUBLIC",
        "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0 OWNER maker",
    )
    yield services
    services.sql(
        *(f"DROP DATABASE {name}" for name in ("made", "of_another", "latin")),
        *(f"DROP ROLE {name}" for name in ("maker", "writer", "plain")),
    )


def database(
    services: Services, *grants: Grant, admin: Admin | None = None, installed: tuple[str, ...] = (), **server: Any
) -> list[str]:
    check = DatabaseCheck(services.server(**server), owner=OWNER, installed=installed)
    check.look(grants or [USER, WRITER], admin)
    return check.problems


def change(grant: Grant, **changes: str) -> Grant:
    return dataclasses.replace(grant, **changes)


def test_what_the_site_made_is_right(made: Services) -> None:
    assert database(made) == []
    assert database(made, sslmode="verify-ca") == []
    assert database(made, sslmode="require", ca="") == []
    assert database(made, sslmode="disable") == []


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ({"port": 25433}, "mlops_database_port: {address}:25433 can't be reached: the connection is refused"),
        ({"host": "db.invalid"}, "mlops_database_host: the name db.invalid can't be resolved"),
        ({"host": "192.0.2.77", "timeout": 0.5}, "mlops_database_port: "),
        ({"ca": "{stranger}"}, "mlops_database_ca: the server's certificate is signed by nobody in it"),
        ({"host": "127.0.0.1"}, "mlops_database_port: 127.0.0.1:25432 can't be reached"),
        ({"port": STORE_PORT}, "mlops_database_port: {address}:28333 doesn't answer as PostgreSQL does"),
        ({"port": STORE_PORT, "sslmode": "disable"}, "mlops_database_port: {address}:28333 "),
    ],
)
def test_no_way_to_the_server_is_said_once(made: Services, server: dict[str, Any], problem: str) -> None:
    texts = {"{stranger}": made.stranger.path.read_text()}
    found = database(made, **{name: texts.get(value, value) for name, value in server.items()})
    assert len(found) == 1
    assert found[0].startswith(problem.replace("{address}", made.address)), found


@pytest.mark.parametrize(
    ("grant", "problem"),
    [
        (change(USER, password="wrong"), "mlops_secrets.mlflow_db_password: "),
        (change(USER, password=""), "mlops_secrets.mlflow_db_password: the password of 'maker'"),
        (change(WRITER, user="nobody"), "mlops_secrets.mlflow_gc_db_password: "),
        (change(USER, database="nowhere"), "mlops_database_names.mlflow: {server} has no database 'nowhere'"),
        (change(USER, user="plain", password="plain"), "mlops_database_users.mlflow: 'plain' may not make tables"),
        (change(USER, database="of_another"), "mlops_database_users.mlflow: {server} doesn't let 'maker'"),
        (change(USER, database="latin"), "mlops_database_names.mlflow: 'latin' has the encoding LATIN1"),
    ],
)
def test_what_a_login_shows(made: Services, grant: Grant, problem: str) -> None:
    found = database(made, grant)
    assert len(found) == 1
    assert found[0].startswith(problem.replace("{server}", str(made.server()))), found


def test_all_problems_are_named_at_once(made: Services) -> None:
    found = database(made, change(USER, password="wrong"), change(WRITER, password="wrong too"))
    assert [text.split(":")[0] for text in found] == [
        "mlops_secrets.mlflow_db_password",
        "mlops_secrets.mlflow_gc_db_password",
    ]


def test_an_administrator_takes_nothing_that_is_somebody_elses(made: Services) -> None:
    new = [change(USER, database="new", user="newuser"), change(WRITER, database="new", user="newwriter")]
    assert database(made, *new, admin=ADMIN) == []
    found = database(made, USER, change(WRITER, user="plain"), change(USER, database="of_another"), admin=ADMIN)
    assert [text.split(":")[0] for text in found] == [
        "mlops_database_users.mlflow",
        "mlops_database_users.mlflow_gc",
        "mlops_database_names.mlflow",
    ]
    assert OWNER in found[0]
    made.sql(f"COMMENT ON ROLE maker IS '{OWNER}'", f"COMMENT ON ROLE writer IS '{OWNER}'")
    assert database(made, admin=ADMIN) == []


def test_what_an_administrator_may_not(made: Services) -> None:
    found = database(made, admin=Admin("plain", "plain", "postgres", "postgresql_admin_password"))
    assert "CREATEROLE CREATEDB" in found[0]
    assert found[0].startswith("mlops_database_admin_user: 'plain' may not")
    wrong = database(made, admin=dataclasses.replace(ADMIN, password="wrong"))
    assert [text.split(":")[0] for text in wrong] == ["mlops_secrets.postgresql_admin_password"]
    missing = database(made, admin=dataclasses.replace(ADMIN, password=""))
    assert [text.split(":")[0] for text in missing] == ["mlops_secrets.postgresql_admin_password"]
    elsewhere = database(made, admin=dataclasses.replace(ADMIN, database="nowhere"))
    assert [text.split(":")[0] for text in elsewhere] == ["mlops_database_admin_database"]


def test_data_that_are_elsewhere(made: Services) -> None:
    """A platform that runs already is not given an empty database in silence."""
    found = database(made, installed=("mlflow",))
    assert len(found) == 1
    assert found[0].startswith("mlops_database_provider: ")
    assert "mlops_data_moved: [database]" in found[0]
    with made.login("maker", "maker's password", "made") as session:
        session.query("CREATE TABLE public.moved (a int)")
    assert database(made, installed=("mlflow",)) == []


def test_a_server_that_takes_no_changes(made: Services) -> None:
    made.sql("ALTER ROLE maker SET default_transaction_read_only = on")
    try:
        assert database(made, USER)[0].startswith("mlops_database_host: ")
    finally:
        made.sql("ALTER ROLE maker RESET ALL")


# S3

MLFLOW = Bucket("mlflow", "mlflow", BUCKET, KEYS["mlflow"], "mlflow_s3_access_key", "mlflow_s3_secret_key")


def store(
    services: Services, bucket: Bucket = MLFLOW, *, make: bool = False, installed: tuple[str, ...] = (), **endpoint: Any
) -> list[str]:
    check = BucketCheck(services.endpoint(**endpoint), make=make, installed=installed)
    check.look([bucket])
    return check.problems


def test_a_bucket_that_is_right(services: Services) -> None:
    assert store(services) == []
    assert b"mlops-probe" not in services.objects()


def test_buckets_that_are_not(services: Services) -> None:
    cases = {
        "mlops_secrets.mlflow_s3_access_key": {"keys": Keys("UNKNOWN", KEYS["mlflow"].secret)},
        "mlops_secrets.mlflow_s3_secret_key": {"keys": Keys(KEYS["mlflow"].access, "wrong")},
        "mlops_object_store_buckets.mlflow": {"name": "another-bucket"},
    }
    for variable, changes in cases.items():
        found = store(services, dataclasses.replace(MLFLOW, **changes))
        assert [text.split(":")[0] for text in found] == [variable], found
    missing = dataclasses.replace(MLFLOW, name="not-made-yet", keys=KEYS["admin"])
    assert "mlops_object_store_make_buckets" in store(services, missing)[0]
    assert store(services, missing, make=True) == []
    reader = store(services, dataclasses.replace(MLFLOW, keys=KEYS["reader"]))
    assert "may not write objects" in reader[0]
    assert reader[0].startswith("mlops_object_store_buckets.mlflow: ")
    assert b"mlops-probe" not in services.objects()
    without = store(services, dataclasses.replace(MLFLOW, keys=Keys("", "")))
    assert [text.split(":")[0] for text in without] == [
        "mlops_secrets.mlflow_s3_access_key",
        "mlops_secrets.mlflow_s3_secret_key",
    ]


def test_no_way_to_the_store(services: Services) -> None:
    cases = {
        "mlops_object_store_ca: the server's": {"ca": services.stranger.path.read_text()},
        "mlops_object_store_endpoint: no TLS": {"url": f"https://{services.address}:25432"},
        "mlops_object_store_endpoint: the name": {"url": "https://s3.invalid"},
        f"mlops_object_store_endpoint: http://{services.address}": {"url": f"http://{services.address}:{STORE_PORT}"},
        f"mlops_object_store_endpoint: {services.address}:1 can't": {"url": f"https://{services.address}:1"},
    }
    for beginning, changes in cases.items():
        found = store(services, **changes)
        assert len(found) == 1, found
        assert found[0].startswith(beginning), found


def test_objects_that_are_elsewhere(services: Services) -> None:
    found = store(services, installed=("mlflow",))
    assert len(found) == 1
    assert "mlops_data_moved: [object_store]" in found[0]
