# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""One broker: who is let in, what a grant allows, what is kept when it dies, and what it tells of itself."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.mlops.onprem.plugins.action.generated_secrets import sealed_certificate
from confluent_kafka import KafkaException
from kafka_image import Brokers, run_job
from stream import PASSWORDS, consume, end, produce, settings, users

TOPICS = [{"name": f"predictions.{name}", "settings": {"compression.type": name}} for name in ("lz4", "snappy", "zstd")]


@pytest.fixture(scope="module")
def brokers(certificate: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    # As in a container: nowhere is a place that a library could be unpacked to and run from.
    no_scratch = {"KAFKA_JAVA_OPTIONS": "-Djava.io.tmpdir=/nowhere"}
    with Brokers.started(tmp_path_factory.mktemp("one"), 1, certificate, no_scratch) as found:
        done = run_job(found, users(), TOPICS)
        assert done.returncode == 0, done.stdout + done.stderr
        yield found


def test_a_topic_is_made_by_who_may_write_it(brokers: Brokers) -> None:
    assert produce(settings(brokers, "serving"), "predictions.new", [b"1", b"2"]) == []
    assert consume(settings(brokers, "drift"), "predictions.new", 2) == [b"1", b"2"]


def test_beyond_its_grants_a_user_gets_nothing(brokers: Brokers) -> None:
    assert produce(settings(brokers, "serving"), "orders", [b"x"], 5) == ["TOPIC_AUTHORIZATION_FAILED"]
    with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
        consume(settings(brokers, "drift"), "orders", 1)
    for user, group in (("etl", "drift-test"), ("drift", "others")):
        with pytest.raises(KafkaException, match="GROUP_AUTHORIZATION_FAILED"):
            consume(settings(brokers, user), "predictions.lz4", 1, group)


def test_nobody_gets_in_without_a_password(brokers: Brokers) -> None:
    wrong = settings(brokers, "serving", "another password")
    assert produce(wrong, "predictions.new", [b"x"], 4) == ["_MSG_TIMED_OUT"]
    unknown = {**wrong, "sasl.username": "nobody"}
    assert produce(unknown, "predictions.new", [b"x"], 4) == ["_MSG_TIMED_OUT"]
    without = {key: value for key, value in wrong.items() if not key.startswith("sasl")} | {"security.protocol": "SSL"}
    assert produce(without, "predictions.new", [b"x"], 4) == ["_MSG_TIMED_OUT"]
    assert produce({**without, "security.protocol": "PLAINTEXT"}, "predictions.new", [b"x"], 4) == ["_MSG_TIMED_OUT"]
    peers = {**without, "bootstrap.servers": brokers.addresses("peers")}
    assert produce(peers, "predictions.new", [b"x"], 4) == ["_MSG_TIMED_OUT"]


def test_a_broker_with_another_certificate_is_not_trusted(brokers: Brokers, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(sealed_certificate(["kafka", "127.0.0.1"]))
    assert produce(settings(brokers, "serving", ca=ca), "predictions.new", [b"x"], 4) == ["_MSG_TIMED_OUT"]


@pytest.mark.parametrize("codec", ["lz4", "snappy", "zstd"])
def test_compression_needs_no_place_to_unpack_libraries(brokers: Brokers, codec: str) -> None:
    """The broker compresses what comes uncompressed, and looks into what comes compressed."""
    values = [os.urandom(8).hex().encode() * 50 for _number in range(20)]
    for own in ("none", codec):
        assert produce({**settings(brokers, "serving"), "compression.type": own}, f"predictions.{codec}", values) == []
    assert consume(settings(brokers, "drift"), f"predictions.{codec}", 40) == values * 2
    assert "NoClassDefFoundError" not in brokers.log()
    assert "UnsatisfiedLinkError" not in brokers.log()


def test_what_was_acknowledged_outlives_a_killed_broker(brokers: Brokers) -> None:
    values = [str(number).encode() for number in range(5000)]
    assert produce(settings(brokers, "serving"), "predictions.kept", values) == []
    brokers.stop(0, hard=True)
    brokers.start(0)
    assert consume(settings(brokers, "drift"), "predictions.kept", 5000) == values
    assert end(settings(brokers, "drift"), "predictions.kept") == 5000


def test_its_metrics(brokers: Brokers) -> None:
    address = f"http://127.0.0.1:{brokers.ports['metrics']}/metrics"
    produce(settings(brokers, "serving"), "predictions.lz4", [b"x"])
    with urllib.request.urlopen(address, timeout=20) as answer:
        text = answer.read().decode()
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert float(samples["kafka_broker_messagesin_total"]) >= 1
    assert float(samples['kafka_topic_bytesin_total{topic="predictions.lz4"}']) > 0
    assert float(samples["kafka_replica_manager_underreplicatedpartitions"]) == 0
    assert float(samples["kafka_controller_activecontrollercount"]) == 1
    assert float(samples['kafka_request_milliseconds{quantile="0.99",request="Produce"}']) >= 0
    assert float(samples['kafka_log_bytes{partition="0",topic="predictions.lz4"}']) > 0
    assert len(samples) < 500


def test_no_password_is_where_one_looks(brokers: Brokers) -> None:
    pid = brokers.processes[0].pid
    seen = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    seen += b"".join(path.read_bytes() for path in brokers.directory.glob("scratch1/*"))
    seen += brokers.log().encode()
    for password in PASSWORDS.values():
        assert password.encode() not in seen
    assert b"PRIVATE KEY" not in seen


def test_at_rest_it_is_small(brokers: Brokers) -> None:
    status = Path(f"/proc/{brokers.processes[0].pid}/status").read_text()
    kilobytes = int(status.split("VmRSS:")[1].split()[0])
    print(f"resident memory: {kilobytes // 1024} MB")
    assert kilobytes < 400 * 1024
