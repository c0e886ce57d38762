# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance client itself: a broker that is as it should be passes, one that grants too much doesn't."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka_image import Brokers, run_job
from stream import PASSWORDS, users

CLIENT = Path(__file__).resolve().parents[2] / "conformance/clients/kafka.py"


@pytest.fixture(scope="module")
def brokers(certificate: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    with Brokers.started(tmp_path_factory.mktemp("conformance"), 1, certificate) as found:
        assert run_job(found, users(), []).returncode == 0
        yield found


def client(brokers: Brokers, verb: str) -> subprocess.CompletedProcess[str]:
    files = {}
    for name in ("serving", "drift", "admin"):
        files[name] = brokers.directory / f"{name}.txt"
        files[name].write_text(PASSWORDS[name])
    # As it is mounted: beside no file of a library's name.
    script = shutil.copy(CLIENT, brokers.directory / "client.py")
    environment = {
        "PATH": os.environ["PATH"],
        "VERB": verb,
        "TOKEN": "token",
        "MLOPS_BROKER": brokers.addresses(),
        "MLOPS_BROKER_CA": str(brokers.ca),
        "MLOPS_TOPIC_PREFIX": "predictions.",
        "WRITER": "serving",
        "WRITER_PASSWORD_FILE": str(files["serving"]),
        "READER": "drift",
        "READER_PASSWORD_FILE": str(files["drift"]),
        "ADMIN_PASSWORD_FILE": str(files["admin"]),
    }
    command = [sys.executable, str(script)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)


def test_messages_come_back_after_a_restart(brokers: Brokers) -> None:
    sent = client(brokers, "send")
    assert sent.returncode == 0, sent.stdout + sent.stderr
    brokers.stop(0)
    brokers.start(0)
    read = client(brokers, "read")
    assert read.returncode == 0, read.stdout + read.stderr


def test_a_grant_too_many_is_found(brokers: Brokers) -> None:
    wide = [
        {
            **user,
            "grants": [{"topics": "*", "rights": ["read", "write", "create"]}, {"groups": "*", "rights": ["read"]}],
        }
        for user in users()
    ]
    assert run_job(brokers, wide, []).returncode == 0
    found = client(brokers, "send")
    assert found.returncode == 1
    for problem in ("may write beside the stream", "user reads the stream", "in a group of others"):
        assert problem in found.stdout, found.stdout + found.stderr
