# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""How a container reaches the broker: from its environment to the settings of librdkafka's clients."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_runtime.contracts import environment
from mlops_runtime.contracts.settings import SettingsError, from_file


class BrokerSettingsError(SettingsError):
    """A variable about the broker that can't be used."""


def client_settings(environ: Mapping[str, str]) -> dict[str, Any]:
    """Settings of confluent-kafka's clients by librdkafka's names; add those of a producer or a consumer.

    With MLOPS_BROKER_CA the connection is TLS, and SCRAM-SHA-512 where there is a user; without it, it is plain and has
    no user: a password never travels in the clear. Raises `BrokerSettingsError`.
    https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
    """
    servers = [server.strip() for server in environ.get(environment.BROKER, "").split(",") if server.strip()]
    if not servers:
        raise BrokerSettingsError(f"{environment.BROKER} is not set: host:port of a broker, or several with commas")
    for server in servers:
        host, _, port = server.rpartition(":")
        if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise BrokerSettingsError(f"{environment.BROKER}: {server!r} is no host:port")
    settings: dict[str, Any] = {"bootstrap.servers": ",".join(servers), "security.protocol": "plaintext"}
    authority, username = environ.get(environment.BROKER_CA, ""), environ.get(environment.BROKER_USERNAME, "")
    if authority:
        if not Path(authority).is_file():
            raise BrokerSettingsError(f"{environment.BROKER_CA}: there is no file {authority}")
        settings |= {"security.protocol": "ssl", "ssl.ca.location": authority}
    if username:
        if not authority:
            raise BrokerSettingsError(
                f"{environment.BROKER_USERNAME} is set and {environment.BROKER_CA} is not: "
                "the password would travel in the clear"
            )
        settings |= {
            "security.protocol": "sasl_ssl",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": username,
            "sasl.password": _password(environ),
        }
    return settings


def _password(environ: Mapping[str, str]) -> str:
    path = environ.get(environment.BROKER_PASSWORD_FILE, "")
    if not path:
        raise BrokerSettingsError(
            f"{environment.BROKER_USERNAME} is set and {environment.BROKER_PASSWORD_FILE} is not: "
            "the file that holds the user's password"
        )
    try:
        password = from_file(environ, "", environment.BROKER_PASSWORD_FILE)
    except SettingsError as error:
        raise BrokerSettingsError(str(error)) from error
    if not password:
        raise BrokerSettingsError(f"{environment.BROKER_PASSWORD_FILE}: {path} is empty")
    return password
