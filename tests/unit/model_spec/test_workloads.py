# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The workloads of a model: golden files, and that the seam takes all of them.

MLOPS_GOLDEN=write writes the files anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec import (
    Broker,
    ModelVersion,
    Platform,
    from_tag,
    workload_name,
    workloads,
)
from ansible_collections.mlops.onprem.plugins.module_utils._model_spec.spec import NAME_PATTERN
from ansible_collections.mlops.onprem.plugins.module_utils._workload import parse
from hypothesis import given
from hypothesis import strategies as st

GOLDEN = Path(__file__).resolve().parents[2] / "golden/model_spec"
#: The fact ``mlops_broker``, as the role kafka makes it of three brokers.
CONTRACT: dict[str, Any] = {
    "bootstrap": "kafka-1:9092,kafka-2:9092,kafka-3:9092",
    "workloads": ["kafka-1", "kafka-2", "kafka-3", "kafka-topics"],
    "egress": [],
    "prefix": "predictions.",
    "env": {
        "MLOPS_BROKER": "kafka-1:9092,kafka-2:9092,kafka-3:9092",
        "MLOPS_BROKER_CA": "/etc/mlops/broker-ca.pem",
        "MLOPS_TOPIC_PREFIX": "predictions.",
    },
    "configs": [{"path": "/etc/mlops/broker-ca.pem", "content": "-----BEGIN CERTIFICATE-----"}],
    "users": {
        "serving": {
            "username": "serving",
            "env": {
                "MLOPS_BROKER_USERNAME": "serving",
                "MLOPS_BROKER_PASSWORD_FILE": "/run/secrets/kafka_serving_password",
            },
            "secrets": [{"name": "kafka_serving_password"}],
        },
    },
}
WITHOUT_BROKER = Platform(name="mlops")
PLATFORM = Platform(name="mlops", broker=Broker.of(CONTRACT))
CASES: dict[str, tuple[dict[str, Any], list[ModelVersion]]] = {
    "short": ({}, [ModelVersion("1", "model-0123456789ab", "c0ffee")]),
    "probabilities_on_gpus": (
        {
            "method": "predict_proba",
            "replicas": 3,
            "resources": {
                "requests": {"cpu": 1, "memory": "2Gi", "gpu": 1},
                "limits": {"cpu": 2, "memory": "4Gi", "gpu": 1},
            },
            "batching": {"max_rows": 128, "wait_ms": 2.5},
            "placement": {"labels": {"gpu": "a100"}, "spread": "node"},
            "env": {"OMP_NUM_THREADS": "1"},
        },
        [ModelVersion("7", "model-0123456789ab", "c0ffee")],
    ),
    "own_class_on_seldon_core": (
        {
            "runtime": "seldon_core",
            "class": {"name": "fraud.Fraud"},
            "parameters": {"threshold": 0.5, "top": 3, "strict": True, "mode": "fast"},
        },
        [ModelVersion("2", "model-ba9876543210")],
    ),
    "champion_challenger_shadow": (
        {},
        [
            ModelVersion("3", "model-0123456789ab", "5ad0", role="shadow"),
            ModelVersion("1", "model-0123456789ab", "c0ffee"),
            ModelVersion("2", "model-ba9876543210", "feed", role="challenger"),
        ],
    ),
    "watched": (
        {"drift": {"detectors": ["ewma"], "labels": True}, "records": {"sample": 0.25}},
        [ModelVersion("1", "model-0123456789ab", "c0ffee")],
    ),
}


def rendered(case: str) -> list[dict[str, object]]:
    declared, versions = CASES[case]
    return workloads(from_tag(json.dumps({"schema": 1, "name": "iris", **declared})), versions, PLATFORM)


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    text = json.dumps(rendered(case), indent=2, sort_keys=True) + "\n"
    file = GOLDEN / f"{case}.json"
    if os.environ.get("MLOPS_GOLDEN") == "write":
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("case", CASES)
def test_the_seam_takes_them(case: str) -> None:
    assert len(parse(rendered(case))) == len(CASES[case][1])


def test_who_logs_nothing_knows_no_broker() -> None:
    spec, versions = from_tag('{"schema":1,"name":"iris"}'), CASES["champion_challenger_shadow"][1]
    assert workloads(spec, versions, PLATFORM) == workloads(spec, versions, WITHOUT_BROKER)


def test_without_a_broker_nothing_is_logged() -> None:
    watched, plain = (from_tag(json.dumps({"schema": 1, "name": "iris", **more})) for more in (CASES["watched"][0], {}))
    versions = CASES["watched"][1]
    assert workloads(watched, versions, WITHOUT_BROKER) == workloads(plain, versions, WITHOUT_BROKER)


def test_each_version_of_a_model_logs_to_its_topic() -> None:
    spec = from_tag('{"schema":1,"name":"iris","records":{}}')
    found = workloads(spec, CASES["champion_challenger_shadow"][1], PLATFORM)
    assert [workload["env"]["MLOPS_RECORDS"] for workload in found] == ["predictions.iris"] * 3  # type: ignore[index]


def test_the_sites_own_brokers_are_outside() -> None:
    outside = {"host": "kafka.example.org", "port": 9093}
    external = CONTRACT | {"bootstrap": "kafka.example.org:9093", "workloads": ["kafka-topics"], "egress": [outside]}
    (found,) = workloads(
        from_tag('{"schema":1,"name":"iris","records":{}}'),
        [ModelVersion("1", "model-0123456789ab")],
        Platform(name="mlops", broker=Broker.of(external)),
    )
    assert (found["connects"], found["egress"]) == (["mlflow"], [outside])


def test_the_order_of_versions_does_not_matter() -> None:
    spec = from_tag('{"schema":1,"name":"iris"}')
    versions = CASES["champion_challenger_shadow"][1]
    assert workloads(spec, versions, PLATFORM) == workloads(spec, reversed(versions), PLATFORM)


@given(
    st.lists(st.from_regex(NAME_PATTERN, fullmatch=True).filter(lambda name: len(name) <= 30), unique=True, max_size=6)
)
def test_no_two_models_share_a_workload(names: list[str]) -> None:
    found = [workload_name(name, role) for name in names for role in ("champion", "challenger", "shadow")]
    assert len(set(found)) == len(found)
    assert all(len(name) <= 40 for name in found)
