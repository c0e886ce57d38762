# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""From a container's environment to the broker's properties and its command."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.action.generated_secrets import sealed_certificate
from mlops_kafka.server import java, serving_options, write_properties
from mlops_kafka.settings import Settings, SettingsError, cluster_id, properties


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "certificate.pem").write_text(sealed_certificate(["kafka"]))
    (tmp_path / "lib").mkdir()
    for name in ("b.jar", "a.jar", "jmx_prometheus_javaagent-1.jar"):
        (tmp_path / "lib" / name).touch()
    return {
        "KAFKA_CERTIFICATE_FILE": str(tmp_path / "certificate.pem"),
        "KAFKA_HOME": str(tmp_path),
        "KAFKA_SCRATCH_DIR": str(tmp_path),
    }


THREE = {"KAFKA_BROKERS": "kafka-1,kafka-2,kafka-3", "KAFKA_NAME": "kafka-2"}


def test_one_broker_keeps_one_copy(environment: dict[str, str]) -> None:
    found = properties(Settings.read(environment))
    assert found["node.id"] == "1"
    assert found["controller.quorum.voters"] == "1@localhost:9094"
    assert found["advertised.listeners"] == "CLIENTS://kafka:9092,PEERS://kafka:9093"
    assert {found["default.replication.factor"], found["min.insync.replicas"]} == {"1"}


def test_of_three_one_may_be_away(environment: dict[str, str]) -> None:
    found = properties(Settings.read({**environment, **THREE}))
    assert found["node.id"] == "2"
    assert found["controller.quorum.voters"] == "1@kafka-1:9094,2@localhost:9094,3@kafka-3:9094"
    for kind in ("default", "offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        assert found[f"{kind}.replication.factor"] == "3"
    assert found["min.insync.replicas"] == "2"


def test_nobody_talks_in_the_clear_or_unknown(environment: dict[str, str]) -> None:
    found = properties(Settings.read(environment))
    protocols = dict(part.split(":") for part in found["listener.security.protocol.map"].split(","))
    assert set(protocols) == {part.split("://")[0] for part in found["listeners"].split(",")}
    assert set(protocols.values()) == {"SASL_SSL", "SSL"}
    for listener, protocol in protocols.items():
        if protocol == "SSL":
            assert found[f"listener.name.{listener.lower()}.ssl.client.auth"] == "required"
    assert found["allow.everyone.if.no.acl.found"] == "false"
    assert found["sasl.enabled.mechanisms"] == "SCRAM-SHA-512"


def test_the_sites_own_properties_win(environment: dict[str, str]) -> None:
    given = {**environment, "KAFKA_PROPERTIES": '{"num.partitions": 4, "auto.create.topics.enable": false}'}
    found = properties(Settings.read(given))
    assert found["num.partitions"] == "4"
    assert found["auto.create.topics.enable"] == "false"


def test_a_cluster_is_known_by_its_name() -> None:
    ids = {cluster_id(f"name {number}") for number in range(500)}
    assert len(ids) == 500
    assert all(len(base64.urlsafe_b64decode(f"{found}==")) == 16 for found in ids)
    assert not any(found.startswith("-") for found in ids)
    assert cluster_id("mlops") == cluster_id("mlops")


def test_the_command_and_the_file_hold_no_secret(environment: dict[str, str]) -> None:
    settings = Settings.read({**environment, "KAFKA_JAVA_OPTIONS": "-Dx=y -Dz=1"})
    command = java(settings, serving_options(settings), ["kafka.Kafka"])
    text = " ".join(command) + write_properties(settings).read_text()
    assert "PRIVATE KEY" not in text
    home = environment["KAFKA_HOME"]
    # In an order of its own, whatever the file system's is; the agent is no part of it.
    assert command[command.index("-cp") + 1] == f"{home}/lib/a.jar:{home}/lib/b.jar"
    assert f"-javaagent:{home}/lib/jmx_prometheus_javaagent-1.jar=0.0.0.0:9404:{home}/metrics.yml" in command
    assert command.index("-Dz=1") < command.index("-cp")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"KAFKA_BROKERS": "kafka-1,kafka-2,kafka-3"}, "KAFKA_NAME"),
        ({"KAFKA_NAME": "other"}, "KAFKA_NAME"),
        ({"KAFKA_HEAP": "half"}, "KAFKA_HEAP"),
        ({"KAFKA_PROPERTIES": "[]"}, "KAFKA_PROPERTIES"),
        ({"KAFKA_PROPERTIES": "{"}, "KAFKA_PROPERTIES"),
        ({"KAFKA_PROPERTIES": '{"a": "b\\nsuper.users=User:me"}'}, "KAFKA_PROPERTIES"),
        ({"KAFKA_CLIENTS_PORT": "99999"}, "KAFKA_CLIENTS_PORT"),
        ({"KAFKA_CERTIFICATE_FILE": "/nowhere"}, "KAFKA_CERTIFICATE_FILE"),
    ],
)
def test_wrong_variables_are_named(environment: dict[str, str], variables: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings.read({**environment, **variables})


@pytest.mark.parametrize("missing", ["PRIVATE KEY", "CERTIFICATE"])
def test_half_a_certificate_is_none(environment: dict[str, Any], missing: str) -> None:
    path = Path(environment["KAFKA_CERTIFICATE_FILE"])
    path.write_text(path.read_text().replace(missing, "SOMETHING"))
    with pytest.raises(SettingsError, match=missing.lower()):
        Settings.read(environment)
