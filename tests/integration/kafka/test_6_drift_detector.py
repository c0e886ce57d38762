# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The drift detector at a broker that grants what the role says, and one right too few at first."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka_image import Brokers, run_job
from stream import PASSWORDS, produce, settings, users

ROOT = Path(__file__).resolve().parents[3]
for folder in ("runtime/src", "tests/unit/drift", "tests/integration/drift"):
    sys.path.insert(0, str(ROOT / folder))

from mlops_runtime.drift import registry  # noqa: E402, found by the lines above
from stand import Service, fitted, record, running, until  # noqa: E402

registry.KINDS["cusum"] = "cusum:Cusum"


@pytest.fixture(scope="module")
def brokers(certificate: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    with Brokers.started(tmp_path_factory.mktemp("drift"), 1, certificate) as found:
        yield found


def test_a_right_that_is_given_later_is_taken_up(brokers: Brokers, tmp_path: Path) -> None:
    too_few = users()
    for user in too_few:
        user["grants"] = [grant for grant in user["grants"] if "transactions" not in grant]
    topics = [{"name": name} for name in ("predictions.m", "predictions.m.dead", "predictions.__drift_state")]
    assert run_job(brokers, too_few, topics).returncode == 0
    fitted(tmp_path / "models", "m")
    password = tmp_path / "password"
    password.write_text(PASSWORDS["drift"])
    service = Service(
        brokers.addresses(),
        tmp_path / "models",
        tmp_path / "log",
        MLOPS_BROKER_CA=str(brokers.ca),
        MLOPS_BROKER_USERNAME="drift",
        MLOPS_BROKER_PASSWORD_FILE=str(password),
    )
    with running(service):
        until(lambda: "Transactional Id authorization failed" in str(service.ready()["reasons"]), "the reason")
        assert service.ready()["status"] == "not ready"
        assert run_job(brokers, users(), topics).returncode == 0
        until(lambda: service.ready()["status"] == "ready", "ready without a restart")
        assert produce(settings(brokers, "serving"), "predictions.m", [record("m", "a", [[0.0] * 5])]) == []
        until(lambda: [one for one in service.partitions().values() if one["committed"] == 1], "it is committed")
