# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Who may use which bucket, and the jobs that consumers make of a provider's."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / ".collections"))

from ansible_collections.mlops.onprem.plugins.filter.storage import (
    based_on,
    bucket_grants,
    bucket_jobs,
    data_elsewhere,
    data_labels,
    database_grants,
    database_jobs,
    s3_config,
    with_secrets,
)

ADMIN = {"name": "admin", "access_key": "aa", "secret_key": "as"}
MLFLOW = {"name": "mlflow", "access_key": "ma", "secret_key": "ms", "buckets": ["mlflow"]}
SECRETS = {"aa": "1", "as": "2", "ma": "3", "ms": "4"}


def test_only_the_administrator_reaches_beyond_its_buckets() -> None:
    admin, mlflow = json.loads(s3_config([ADMIN, MLFLOW], SECRETS))["identities"]
    assert "Admin" in admin["actions"]
    assert mlflow["credentials"] == [{"accessKey": "3", "secretKey": "4"}]
    assert mlflow["actions"] == ["Read:mlflow", "Write:mlflow", "List:mlflow", "Tagging:mlflow"]


def test_a_missing_secret_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match=r"identity mlflow: secret_key 'ms'"):
        s3_config([MLFLOW], {"ma": "3"})


def test_jobs_are_merged_over_what_the_provider_offers() -> None:
    base = {"image": "mlflow", "args": ["make"], "env": {"A": "1"}}
    jobs = [
        {"name": "bucket", "args": ["mine"], "env": {"B": "2"}, "base": base},
        {"name": "own", "image": "x"},
        {"name": "nothing-to-run", "base": None},
    ]
    assert based_on(jobs) == [
        {"name": "bucket", "image": "mlflow", "args": ["make", "mine"], "env": {"A": "1", "B": "2"}},
        {"name": "own", "image": "x"},
    ]
    assert base["args"] == ["make"]


USES = [
    {"component": "mlflow", "database": "mlflow", "user": "mlflow", "secret": "a", "rights": "owner"},
    {"component": "mlflow", "database": "accounts", "user": "mlflow", "secret": "a", "rights": "owner"},
    {"component": "mlflow", "database": "mlflow", "user": "gc", "secret": "b", "rights": "writer"},
    {"component": "other", "database": "other", "user": "other", "secret": "c", "rights": "owner"},
]


def test_databases_and_users_get_the_sites_names() -> None:
    grants = database_grants(USES, {"mlflow": "registry"}, {"gc": "collector"})
    assert [grant["database"] for grant in grants] == ["registry", "accounts", "registry", "other"]
    assert [grant["database_key"] for grant in grants] == ["mlflow", "accounts", "mlflow", "other"]
    assert [grant["user"] for grant in grants] == ["mlflow", "mlflow", "collector", "other"]


def test_each_component_has_a_job_for_its_databases() -> None:
    base = {"image": "postgresql", "env": {"PGHOST": "db"}, "secrets": [{"name": "admin"}]}
    jobs = database_jobs(database_grants(USES, {"mlflow": "registry"}, {}), base)
    assert set(jobs) == {"mlflow", "other"}
    assert jobs["mlflow"]["env"] == {
        "PGHOST": "db",
        "MLOPS_DATABASES": "registry mlflow a owner\naccounts mlflow a owner\nregistry gc b writer",
    }
    assert [secret["name"] for secret in jobs["mlflow"]["secrets"]] == ["admin", "a", "b"]
    assert base["secrets"] == [{"name": "admin"}]


def test_each_component_has_a_job_for_its_bucket() -> None:
    base = {"image": "mlflow", "args": ["bucket"], "env": {"A": "1"}}
    grants = bucket_grants([MLFLOW], {"mlflow": "team"})
    assert grants == [
        {"component": "mlflow", "key": "mlflow", "name": "team", "access_secret": "ma", "secret_secret": "ms"}
    ]
    assert bucket_jobs(grants, base, False) == {"mlflow": {**base, "args": ["bucket", "team"]}}
    own = bucket_jobs(grants, base, True)["mlflow"]
    assert own["secrets"] == [{"name": "ma"}, {"name": "ms"}]
    assert own["env"]["AWS_SECRET_ACCESS_KEY_FILE"] == "/run/secrets/ms"


def test_a_secret_that_is_not_there_is_empty() -> None:
    assert with_secrets([{"secret": "a"}, {"secret": "b"}], {"a": "1"}, password="secret") == [
        {"secret": "a", "password": "1"},
        {"secret": "b", "password": ""},
    ]


def test_labels_say_where_the_data_are() -> None:
    labels = data_labels(USES, "database", "db:5432", "database")
    assert labels == {"mlflow": {"database": "db:5432/mlflow,accounts"}, "other": {"database": "db:5432/other"}}
    running = [
        {"name": "mlflow", "labels": {"database": "postgresql:5432/mlflow,accounts"}},
        {"name": "other", "labels": {"database": "db:5432/other"}},
        {"name": "gateway", "labels": {}},
    ]
    assert data_elsewhere(running, labels) == ["mlflow"]
    assert data_elsewhere([{"name": "mlflow"}], labels) == []
