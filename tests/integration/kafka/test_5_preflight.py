# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The look at the site's own brokers: what is right passes, and each thing that is wrong is named with its variable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.mlops.onprem.plugins.action.generated_secrets import sealed_certificate
from ansible_collections.mlops.onprem.plugins.module_utils._services.broker_check import BrokerCheck, Login
from ansible_collections.mlops.onprem.plugins.module_utils._services.kafka import Broker
from ansible_collections.mlops.onprem.plugins.plugin_utils.certificate_filters import certificate_of
from kafka import free_port
from kafka_image import Brokers, run_job
from stream import PASSWORDS, users


@pytest.fixture(scope="module")
def brokers(certificate: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    with Brokers.started(tmp_path_factory.mktemp("preflight"), 1, certificate) as found:
        assert run_job(found, users(), []).returncode == 0
        yield found


def login(key: str, password: str | None = None) -> Login:
    return Login(key, key, f"kafka_{key}_password", PASSWORDS.get(key, "") if password is None else password)


def look(
    brokers: Brokers, *logins: Login, ca: str | None = None, host: str = "127.0.0.1", port: int | None = None
) -> list[str]:
    port = brokers.ports["clients"] if port is None else port
    broker = Broker(host, port, ca=brokers.ca.read_text() if ca is None else ca, timeout=20)
    check = BrokerCheck([broker], prefix="predictions.", timeout=20)
    check.look(logins)
    return check.problems


def test_what_is_right_passes(brokers: Brokers) -> None:
    assert look(brokers, login("serving"), login("drift"), login("admin")) == []


def test_a_missing_password_a_wrong_one_and_a_missing_right(brokers: Brokers) -> None:
    missing, wrong, without = look(brokers, login("archive"), login("serving", "x"), login("etl"))
    assert missing.startswith("mlops_secrets.kafka_archive_password: the password of 'archive'")
    assert wrong.startswith("mlops_secrets.kafka_serving_password: ")
    assert "doesn't let 'serving' in" in wrong
    assert without.startswith("mlops_broker_users.etl: 'etl' may not read the topics predictions.*")


def test_a_broker_of_somebody_elses(brokers: Brokers) -> None:
    stranger = certificate_of(sealed_certificate(["kafka", "127.0.0.1"]))
    (problem,) = look(brokers, login("serving"), ca=stranger)
    assert problem.startswith("mlops_broker_ca: ")


def test_a_name_that_the_certificate_is_not_for(brokers: Brokers) -> None:
    (problem,) = look(brokers, login("serving"), host="localhost")
    assert problem.startswith("mlops_broker_bootstrap: ")
    assert "certificate isn't for localhost" in problem


def test_nobody_there(brokers: Brokers) -> None:
    (problem,) = look(brokers, login("serving"), port=free_port())
    assert problem.startswith("mlops_broker_bootstrap: ")
    assert "refused" in problem


def test_a_broker_that_is_not_in_the_list(certificate: str, brokers: Brokers) -> None:
    there = Broker("127.0.0.1", brokers.ports["clients"], ca=brokers.ca.read_text(), timeout=20)
    check = BrokerCheck([there], prefix="predictions.", timeout=20)
    check.look([login("serving")])
    assert check.found == (("127.0.0.1", brokers.ports["clients"]),)
    # As if it had been asked by another of its names.
    there.host = "127.0.0.9"
    check.problems.clear()
    check._advertised(there)
    assert [problem.split(":")[0] for problem in check.problems] == ["mlops_broker_bootstrap"]
