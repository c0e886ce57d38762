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

from ansible_collections.mlops.onprem.plugins.filter.storage import based_on, s3_config

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
