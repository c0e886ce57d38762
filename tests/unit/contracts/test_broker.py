# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The broker's settings from the environment: what clients get, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer
from mlops_runtime.contracts.broker import BrokerSettingsError, client_settings

SERVERS = {"MLOPS_BROKER": "kafka-1:9092, kafka-2:9092"}


@pytest.fixture
def secured(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----")
    (tmp_path / "password").write_text("a-password\n")
    return {
        **SERVERS,
        "MLOPS_BROKER_CA": str(tmp_path / "ca.pem"),
        "MLOPS_BROKER_USERNAME": "serving",
        "MLOPS_BROKER_PASSWORD_FILE": str(tmp_path / "password"),
    }


def test_plain_without_an_authority() -> None:
    settings = client_settings(SERVERS)
    assert settings == {"bootstrap.servers": "kafka-1:9092,kafka-2:9092", "security.protocol": "plaintext"}
    Producer(settings)  # librdkafka knows them all


def test_tls_and_scram_with_an_authority_and_a_user(secured: dict[str, str]) -> None:
    settings = client_settings(secured)
    assert settings["security.protocol"] == "sasl_ssl"
    assert settings["sasl.mechanism"] == "SCRAM-SHA-512"
    assert (settings["sasl.username"], settings["sasl.password"]) == ("serving", "a-password")
    assert settings["ssl.ca.location"] == secured["MLOPS_BROKER_CA"]


def test_tls_alone_without_a_user(secured: dict[str, str]) -> None:
    del secured["MLOPS_BROKER_USERNAME"]
    settings = client_settings(secured)
    assert settings["security.protocol"] == "ssl"
    assert not any(name.startswith("sasl") for name in settings)


@pytest.mark.parametrize("server", ["kafka", "kafka:", ":9092", "kafka:nine", "kafka:0", "kafka:65536", "kafka:²"])
def test_a_server_is_host_and_port(server: str) -> None:
    with pytest.raises(BrokerSettingsError, match=r"MLOPS_BROKER: .* is no host:port"):
        client_settings({"MLOPS_BROKER": f"kafka-1:9092,{server}"})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"MLOPS_BROKER": " , "}, "MLOPS_BROKER is not set"),
        ({"MLOPS_BROKER_CA": "/nowhere/ca.pem"}, "MLOPS_BROKER_CA: there is no file /nowhere/ca.pem"),
        ({"MLOPS_BROKER_CA": ""}, "would travel in the clear"),
        ({"MLOPS_BROKER_PASSWORD_FILE": ""}, "MLOPS_BROKER_PASSWORD_FILE is not"),
        ({"MLOPS_BROKER_PASSWORD_FILE": "/nowhere/password"}, "MLOPS_BROKER_PASSWORD_FILE: .*No such file"),
    ],
)
def test_what_is_wrong_is_named(secured: dict[str, str], changed: dict[str, str], message: str) -> None:
    with pytest.raises(BrokerSettingsError, match=message):
        client_settings(secured | changed)


def test_an_empty_password_is_none(secured: dict[str, str]) -> None:
    Path(secured["MLOPS_BROKER_PASSWORD_FILE"]).write_text("\n")
    with pytest.raises(BrokerSettingsError, match="is empty"):
        client_settings(secured)
