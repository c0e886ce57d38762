# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Labels that arrive late, read beside the records that they belong to.

A stream's labels are on the same partition of a topic of their own. Whoever holds the stream reads them, without a part
of the group: how far is kept in the stream's own state, so that a snapshot has both or neither.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from mlops_runtime.contracts.prediction_record import labels_topic
from mlops_runtime.drift.service.partitions import Held, Partitions
from mlops_runtime.drift.service.problems import Problems
from mlops_runtime.drift.service.snapshots import Key
from mlops_runtime.drift.stream import StreamAlarm

BATCH: Final = 1000
BEHIND: Final = 1000
"""While so many records wait, labels do, too: they would come before what they are about, and few of them are kept."""


class Labels:
    """The loop's to call, from its thread."""

    def __init__(self, broker: Mapping[str, Any], group: str, prefix: str, problems: Problems) -> None:
        self._prefix = prefix
        self._problems = problems
        self._reading: dict[Key, Held] = {}
        self._consumer = Consumer(
            {
                **broker,
                "group.id": f"{group}-labels",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "queued.max.messages.kbytes": 4096,
                "fetch.wait.max.ms": 100,
            }
        )

    def close(self) -> None:
        self._consumer.close()

    def follow(self, partitions: Partitions, lock: threading.Lock) -> None:
        """Read for the streams that can take labels now, and for no others."""
        with lock:
            wanted = {self._place(held): held for held in partitions if self._is_ready(held)}
            offsets = {key: held.stream.labels_offset for key, held in wanted.items()}
        # A stream that was given away and came back goes on elsewhere than where reading stopped.
        over = [key for key, held in self._reading.items() if wanted.get(key) is not held]
        new = [key for key, held in wanted.items() if self._reading.get(key) is not held]
        if over:
            self._consumer.incremental_unassign([TopicPartition(*key) for key in over])
        if new:
            begin = {key: OFFSET_BEGINNING if offset is None else offset for key, offset in offsets.items()}
            self._consumer.incremental_assign([TopicPartition(*key, begin[key]) for key in new])
        for topic in {topic for topic, _ in over} - {topic for topic, _ in wanted}:
            self._problems.over(topic)
        self._reading = wanted

    def take(self, lock: threading.Lock) -> list[tuple[Held, StreamAlarm]]:
        """What has arrived, without waiting for any; returns the alarms. Raises KafkaException."""
        if not self._reading:
            return []
        arrived: dict[Key, list[Message]] = {}
        for message in self._consumer.consume(BATCH, 0):
            key = (message.topic() or "", message.partition() or 0)
            error = message.error()
            if error is None:
                arrived.setdefault(key, []).append(message)
            elif error.fatal():
                raise KafkaException(error)
            elif error.code() != KafkaError._PARTITION_EOF:
                self._problems.say(key[0], f"labels can't be read: {error.str()}")
        alarms: list[tuple[Held, StreamAlarm]] = []
        with lock:
            for key, messages in arrived.items():
                self._problems.over(key[0])
                held = self._reading[key]
                alarms += [(held, alarm) for alarm in held.take_labels(messages, key, self._prefix)]
        return alarms

    def _place(self, held: Held) -> Key:
        return labels_topic(held.stream.model, self._prefix), held.key[1]

    def _is_ready(self, held: Held) -> bool:
        return not held.waits and not held.refused and held.lag < BEHIND and held.stream.takes_labels
