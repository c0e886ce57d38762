# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The streams that this replica holds, between the broker's messages and the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from mlops_runtime.contracts.prediction_record import dead_topic
from mlops_runtime.drift.service.ledger import Entry, Letter, letter
from mlops_runtime.drift.service.snapshots import Key
from mlops_runtime.drift.stream import DeadLetter, NotYet, Stream, StreamAlarm

LETTER_BYTES = 8 * 2**20
"""Of letters that wait for the next snapshot; beyond, it is made at once."""


@dataclass
class Held:
    """A partition that this replica holds."""

    key: Key
    stream: Stream
    start: int
    """Where it was taken up."""
    packed: bytes | None = None
    """A state that waits for the registry to say what its versions are."""
    letters: list[Letter] = field(default_factory=list)
    letter_bytes: int = 0
    committed: int | None = None
    """The offset of the newest snapshot."""
    labels_committed: int | None = None
    """That of its labels."""
    snapshot_at: float = field(default_factory=time.monotonic)
    waits: bool = False
    """It is paused, for a version that isn't known yet."""
    refused: str = ""
    """Why its dead letters or snapshots can't be written; it is paused until they can."""
    retry_at: float = 0.0
    high: int = -1
    """The offset after the last message that the broker has, as far as known."""

    @property
    def name(self) -> str:
        return f"{self.key[0]} [{self.key[1]}]"

    @property
    def offset(self) -> int:
        """Of the next message."""
        return self.start if self.stream.offset is None else self.stream.offset

    @property
    def lag(self) -> int:
        return max(0, self.high - self.offset) if self.high >= 0 and self.offset >= 0 else 0

    @property
    def dirty(self) -> bool:
        at, labels_at = self.stream.offset, self.stream.labels_offset
        return at is not None and (at, labels_at) != (self.committed, self.labels_committed)

    def restore(self) -> bool:
        """Take up the state that waits. False: it must wait on."""
        if self.packed is not None:
            try:
                self.stream.restore(self.packed)
            except NotYet:
                return False
            self.packed = None
            self.committed, self.labels_committed = self.stream.offset, self.stream.labels_offset
        return True

    def take(self, messages: Sequence[KafkaMessage], prefix: str) -> tuple[list[StreamAlarm], int | None]:
        """Score; returns the alarms, and the offset from which on messages must wait, if they must."""
        begin = self.offset
        taken = [(message.offset() or 0, message.timestamp()[1], message.value()) for message in messages]
        if taken and taken[0][0] < begin:  # What was fetched before a pause.
            taken = [message for message in taken if message[0] >= begin]
        outcome = self.stream.take(taken)
        self._bury(outcome.dead, messages, self.key, prefix)
        return outcome.alarms, outcome.held

    def take_labels(self, messages: Sequence[KafkaMessage], source: Key, prefix: str) -> list[StreamAlarm]:
        """Labels from the partition `source`; returns the alarms."""
        outcome = self.stream.take_labels(
            [(message.offset() or 0, message.timestamp()[1], message.value()) for message in messages]
        )
        self._bury(outcome.dead, messages, source, prefix)
        return outcome.alarms

    def _bury(self, dead: Sequence[DeadLetter], messages: Sequence[KafkaMessage], source: Key, prefix: str) -> None:
        if not dead:
            return
        originals = {message.offset(): message for message in messages}
        topic = dead_topic(self.stream.model, prefix)
        for one in dead:
            made = letter(topic, source, originals[one.offset], one.reason, one.detail)
            self.letters.append(made)
            self.letter_bytes += len(made.value or b"") + 500

    def entry(self) -> Entry:
        stream = self.stream
        return Entry(self.key, self.offset, stream.labels_offset, stream.state(), tuple(self.letters))

    def done(self, entry: Entry) -> None:
        """The entry is committed."""
        self.committed, self.labels_committed = entry.offset, entry.labels_offset
        self.snapshot_at = time.monotonic()
        del self.letters[: len(entry.letters)]
        self.letter_bytes = sum(len(made.value or b"") + 500 for made in self.letters)


class Partitions:
    """All of them, by topic and partition."""

    def __init__(self) -> None:
        self._held: dict[Key, Held] = {}

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._held.values()))

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Key) -> Held | None:
        return self._held.get(key)

    def add(self, held: Held) -> None:
        self._held[held.key] = held

    def remove(self, key: Key) -> None:
        self._held.pop(key, None)

    def clear(self) -> None:
        self._held.clear()


def hold_back(consumer: Consumer, held: Held, offset: int) -> None:
    """Pause. What was fetched beyond the offset is given back: it comes again when the partition goes on."""
    consumer.pause([TopicPartition(*held.key)])
    consumer.seek(TopicPartition(*held.key, offset))


def go_on(consumer: Consumer, held: Held) -> None:
    """Resume, if nothing else keeps it."""
    if not held.waits and not held.refused:
        consumer.resume([TopicPartition(*held.key)])
