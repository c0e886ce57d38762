# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The platform on the site's own services: refused while something is wrong, then installed, changed and removed."""

from __future__ import annotations

from typing import Any

from external_site import Platform
from site_services import ADMIN_PASSWORD, BUCKET, KEYS, ROOT, Services

PASSWORDS = ["lifecycle_db_password", "mlflow_db_password", "mlflow_gc_db_password", "prefect_db_password"]


def named(problems: list[str]) -> list[str]:
    return [problem.split(":")[0] for problem in problems]


def test_wrong_services_are_refused_before_anything_is_done(platform: Platform, services: Services) -> None:
    before = platform.files
    wrong = {"postgresql_admin_password": "not the password", "mlflow_s3_secret_key": "not the key"}
    assert named(platform.refused("site", mlops_secrets=wrong)) == [
        "mlops_secrets.postgresql_admin_password",
        "mlops_secrets.mlflow_s3_secret_key",
    ]
    stranger = services.stranger.path.read_text()
    reader = {"mlflow_s3_access_key": KEYS["reader"].access, "mlflow_s3_secret_key": KEYS["reader"].secret}
    found = platform.refused("site", mlops_database_ca=stranger, mlops_secrets=reader)
    assert named(found) == ["mlops_database_ca", "mlops_object_store_buckets.mlflow"]
    found = platform.refused("site", mlops_database_port=25433, mlops_object_store_ca=stranger)
    assert named(found) == ["mlops_database_port", "mlops_object_store_ca"]
    # The site makes its users itself, and has told nobody their passwords.
    found = platform.refused("site", mlops_database_admin_user=None)
    assert sorted(named(found)) == [f"mlops_secrets.{name}" for name in PASSWORDS]
    assert platform.files == before
    assert platform.deployed == set()
    assert services.sql("SELECT count(*) FROM pg_roles WHERE rolname IN ('ml_registry', 'mlflow_gc')") == "0"
    assert b"<Contents>" not in services.objects()


def test_wrong_variables_are_named_at_once(platform: Platform, services: Services) -> None:
    found = platform.refused(
        mlops_database_host="https://db",
        mlops_database_ca="/nowhere/ca.pem",
        mlops_database_names={"superset": "x"},
        mlops_object_store_endpoint="s3.example.org",
        mlops_object_store_buckets={"mlflow": "Not A Bucket"},
        mlops_data_moved=["gateway"],
    )
    assert sorted(named(found)) == [
        "mlops_data_moved",
        "mlops_database_ca",
        "mlops_database_host",
        "mlops_database_names",
        "mlops_object_store_buckets",
        "mlops_object_store_ca",
        "mlops_object_store_endpoint",
    ]


def test_the_platform_does_what_it_must(platform: Platform, services: Services, installed: str) -> None:
    platform.run(ROOT / "molecule" / "shared" / "verify.yml")
    assert {"mlflow", "mlflow-gc", "gateway", "agent"} <= platform.deployed
    assert not {"postgresql", "seaweedfs"} & platform.deployed
    # The services' own connections, with TLS; the rows and the objects are at the site's.
    connected = services.sql(
        "SELECT usename, bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
        " WHERE usename IN ('lifecycle', 'ml_registry', 'prefect') GROUP BY usename ORDER BY usename"
    )
    assert connected.split() == ["lifecycle|t", "ml_registry|t", "prefect|t"]
    assert services.sql("SELECT count(*) > 0 FROM work_pool", database="prefect") == "t"
    assert services.sql("SELECT count(*) > 0 FROM served", database="lifecycle") == "t"
    assert services.sql("SELECT count(*) > 0 FROM model_versions", database="ml_registry") == "t"
    assert services.sql("SELECT count(*) > 2 FROM users", database="ml-accounts") == "t"
    assert b"<Contents>" in services.objects()
    assert b"mlops-probe" not in services.objects()


def test_users_have_what_they_need(platform: Platform, services: Services, installed: str) -> None:
    passwords = platform.secrets
    plain = "rolname IN ('ml_registry', 'mlflow_gc') AND NOT rolsuper AND NOT rolcreatedb"
    assert services.sql(f"SELECT count(*) FROM pg_roles WHERE {plain}") == "2"
    with services.login("mlflow_gc", passwords["mlflow_gc_db_password"], "ml_registry") as collector:
        assert int(collector.value("SELECT count(*) FROM runs") or 0) > 0
        assert collector.value("SELECT has_schema_privilege('public', 'CREATE')") == "f"
    assert services.sql("SELECT has_database_privilege('mlflow_gc', 'ml-accounts', 'CONNECT')") == "f"


def test_no_secret_is_shown(platform: Platform, services: Services, installed: str) -> None:
    """The site's own log says every statement: passwords come to it as hashes alone."""
    secrets = [*platform.secrets.values(), ADMIN_PASSWORD, KEYS["mlflow"].secret]
    shown = installed + services.database.logs().decode() + platform.run("health", "-vvv")
    assert "ALTER USER ml_registry PASSWORD" in shown
    assert [value[:4] for value in secrets if value in shown] == []


def test_second_run_changes_nothing(platform: Platform, installed: str) -> None:
    assert "\n".join(platform.changed(platform.run("site", "--diff"))) == ""
    assert "\n".join(platform.changed(platform.run("site", "--check", "--diff"))) == ""


def test_a_provider_does_not_change_in_silence(platform: Platform, services: Services, installed: str) -> None:
    here = dict.fromkeys(
        name for name in platform.variables if name.startswith(("mlops_database_", "mlops_object_store_"))
    )
    assert named(platform.refused(**here)) == ["mlops_database_provider", "mlops_object_store_provider"]
    services.make_bucket("another")
    other: dict[str, Any] = {
        "mlops_database_names": {"mlflow": "other", "mlflow_auth": "other_accounts"},
        "mlops_object_store_buckets": {"mlflow": "another"},
        "mlops_secrets": {"mlflow_s3_access_key": KEYS["admin"].access, "mlflow_s3_secret_key": KEYS["admin"].secret},
    }
    assert named(platform.refused(**other)) == ["mlops_database_provider", "mlops_object_store_provider"]
    platform.run("validate", **other, mlops_data_moved=["database", "object_store"])


def test_from_now_on_the_site_makes_its_users(platform: Platform, services: Services, installed: str) -> None:
    """Without an administrator the same users are tried, and the tables' owner gives the collector its rights."""
    given = {name: platform.secrets[name] for name in PASSWORDS}
    services.sql("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM mlflow_gc", database="ml_registry")
    platform.run("site", mlops_database_admin_user=None, mlops_secrets=given)
    assert services.sql("SELECT has_table_privilege('mlflow_gc', 'runs', 'DELETE')", database="ml_registry") == "t"
    platform.run("health", mlops_database_admin_user=None, mlops_secrets=given)


def test_the_sites_own_services_stay(platform: Platform, services: Services, installed: str) -> None:
    output = platform.run("uninstall", mlops_remove_data=True)
    assert f"Left there, with all that is in it: the bucket {BUCKET}" in " ".join(output.split())
    assert "ml_registry, ml-accounts" in output
    assert services.sql("SELECT count(*) > 0 FROM model_versions", database="ml_registry") == "t"
    assert b"<Contents>" in services.objects()
    assert platform.deployed == set()
