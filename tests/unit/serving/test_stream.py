# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The producer that never waits, on librdkafka's own cluster in memory, and without any broker."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from mlops_runtime.serving.stream import Stream

NOWHERE = {"bootstrap.servers": "127.0.0.1:1"}
IN_MEMORY = {"bootstrap.servers": "", "test.mock.num.brokers": 1}


def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_a_broker_has_is_logged_without_a_report_for_each() -> None:
    stream = Stream(dict(IN_MEMORY), 1000, 1000)
    for number in range(500):
        assert stream.send("t", str(number).encode(), b"{}")
    assert stream.logged + stream.waiting >= 500

    def all_there() -> bool:
        stream.poll()
        return (stream.logged, stream.lost) == (500, 0)

    eventually(all_there)
    stream.close(5)


def test_a_full_queue_refuses_at_once_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    stream = Stream(dict(NOWHERE), 10, 1000)
    begun = time.monotonic()
    assert [stream.send("t", b"k", b"{}") for _ in range(1000)].count(True) == 10
    assert time.monotonic() - begun < 1
    stream.poll()
    stream.poll()
    assert (stream.logged, stream.lost) == (0, 990)
    said = [record.message for record in caplog.records if "were lost" in record.message]
    assert said == ["990 messages to the broker were lost: the queue is full: the broker is away or too slow"]


def test_the_queue_is_bounded_in_bytes_too() -> None:
    stream = Stream(dict(NOWHERE), 1000, 100)
    taken = [stream.send("t", b"k", b"x" * 10_000) for _ in range(50)].count(True)
    assert 5 <= taken <= 15
    stream.close(0)


def test_what_nobody_took_until_the_end_is_lost() -> None:
    stream = Stream(dict(NOWHERE), 10, 1000)
    for _ in range(5):
        stream.send("t", b"k", b"{}")
    begun = time.monotonic()
    stream.close(0.3)
    assert time.monotonic() - begun < 3
    assert (stream.logged, stream.lost) == (0, 5)


def test_a_message_that_is_too_large_is_a_loss() -> None:
    stream = Stream(dict(NOWHERE), 10, 10_000)
    assert not stream.send("t", b"k", b"x" * 1_000_001)
    stream.close(0)
    assert (stream.logged, stream.lost) == (0, 1)


def test_a_client_that_failed_for_good_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    from confluent_kafka import KafkaError, KafkaException

    stream = Stream(dict(NOWHERE), 10, 1000)
    stream.send("t", b"k", b"{}")

    class Failed:
        def produce(self, *_: Any) -> None:
            raise KafkaException(KafkaError(KafkaError._FATAL))

        def __len__(self) -> int:
            return 1

    monkeypatch.setattr(stream, "_producer", Failed())
    assert not stream.send("t", b"k", b"{}")
    assert stream.send("t", b"k", b"{}")
    assert (stream.logged, stream.lost) == (0, 2)
    stream.close(0)
    assert (stream.logged, stream.lost) == (0, 3)
