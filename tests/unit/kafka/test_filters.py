# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The broker's filters, and the certificate that its clients trust."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.onprem.plugins.action.generated_secrets import SecretsError, Spec, sealed_certificate
from ansible_collections.mlops.onprem.plugins.filter.broker import broker_addresses, broker_job, retention_ms
from ansible_collections.mlops.onprem.plugins.plugin_utils.certificate_filters import certificate_of
from mlops_kafka.declaration import retention_ms as in_the_job


@pytest.mark.parametrize("text", ["1m", "30m", "12h", "7d", "forever"])
def test_a_time_means_the_same_in_the_role_and_in_the_job(text: str) -> None:
    assert retention_ms(text) == in_the_job(text)


def test_what_is_no_time() -> None:
    with pytest.raises(AnsibleFilterError, match="no time such as"):
        retention_ms("a week")


def test_addresses() -> None:
    assert broker_addresses("k1.example.org:9093, [::1]:9092,kafka://k3,k4:port") == [
        {"host": "k1.example.org", "port": 9093},
        {"host": "::1", "port": 9092},
    ]


def test_where_there_is_nothing_to_make_there_is_no_job() -> None:
    base = {"image": "kafka", "env": {"A": "1"}, "secrets": [{"name": "kafka_admin_password"}]}
    assert broker_job(base, [], []) == []
    assert broker_job({}, [{"name": "x"}], []) == []
    (job,) = broker_job(base, [{"name": "x"}], [])
    assert json.loads(job["env"]["MLOPS_TOPICS"]) == [{"name": "x"}]
    assert "MLOPS_USERS" not in job["env"]
    assert base["env"] == {"A": "1"}


NAMES = ["kafka", "127.0.0.1"]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("name", "trusted"), [("127.0.0.1", True), ("kafka", True), ("kafka-9", False)])
def test_clients_trust_the_certificate_for_its_names_alone(
    tmp_path: Path, name: str, trusted: bool, strict: bool
) -> None:
    (tmp_path / "server.pem").write_text(pem := sealed_certificate(NAMES))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.pem")
    client = ssl.create_default_context(cadata=certificate_of(pem))
    if strict:
        client.verify_flags |= ssl.VERIFY_X509_STRICT
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(there, server_side=True).close()
        except OSError:
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        if trusted:
            client.wrap_socket(here, server_hostname=name).close()
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                client.wrap_socket(here, server_hostname=name)
    finally:
        here.close()
        thread.join(10)


def test_what_others_may_see_has_no_key() -> None:
    pem = sealed_certificate(NAMES)
    assert "PRIVATE" not in certificate_of(pem)
    assert certificate_of(pem).count("BEGIN CERTIFICATE") == 1
    assert pem.endswith(certificate_of(pem))
    assert certificate_of("nothing") == ""


def test_names_are_for_certificates() -> None:
    assert Spec.parse("x", {"kind": "certificate", "names": ["a", "b"]}).names == ("a", "b")
    with pytest.raises(SecretsError, match="kind: certificate alone"):
        Spec.parse("x", {"names": ["a"]})
    with pytest.raises(SecretsError, match="must be a list"):
        Spec.parse("x", {"kind": "certificate", "names": "a"})
