# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the service writes: snapshots, dead letters and the group's offsets, all in one transaction or none of it.

A replica that lost its partitions without knowing (it was paused, or cut off) can't commit: the transaction carries the
group's generation, and the coordinator refuses an old one. https://cwiki.apache.org/confluence/display/KAFKA/KIP-447
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from mlops_runtime.drift.service import snapshots
from mlops_runtime.drift.service.snapshots import Key

log = logging.getLogger(__name__)

TRANSACTION_SECONDS: Final = 15
"""A successor under another name waits for so long at most for what was left open."""
_PATIENCE_SECONDS: Final = 120.0
_LETTER_BYTES: Final = 900_000


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter on its way."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]


@dataclass(frozen=True)
class Entry:
    """What a stream commits: its snapshot, the offset that it belongs to, and the letters of before it."""

    key: Key
    offset: int
    labels_offset: int | None
    packed: bytes
    letters: Sequence[Letter] = field(default=())


class CommitError(Exception):
    """Nothing was committed. `topics`: those that refused, with the reason; none where it was the broker as a whole."""

    def __init__(self, message: str, topics: Mapping[str, str] | None = None, fatal: bool = False) -> None:
        super().__init__(message)
        self.topics = topics or {}
        self.fatal = fatal
        """The producer can't be used any more."""


class Ledger:
    """One transactional producer."""

    def __init__(self, broker: Mapping[str, Any], state_topic: str, group: str, instance: str) -> None:
        self._topic, self._group = state_topic, group
        self._producer = Producer(
            {
                **broker,
                "transactional.id": f"{group}-{instance or uuid.uuid4()}",
                "transaction.timeout.ms": TRANSACTION_SECONDS * 1000,
                "compression.type": "lz4",
                "message.max.bytes": 1_048_576,
                "queue.buffering.max.kbytes": 65_536,
                # A topic that isn't there is said so after this; the default outlasts a transaction.
                "topic.metadata.propagation.max.ms": 3000,
                "linger.ms": 0,
            }
        )
        self._partitions = 0
        self._preparing = threading.Lock()
        self._ready = False
        self._open = False
        self._refused: dict[str, str] = {}
        self._waiting: Counter[str] = Counter()
        """Messages of the transaction that no broker has yet, by topic."""

    def prepare(self, timeout: float = 10.0) -> None:
        """Take over from a predecessor of the same name. Raises CommitError."""
        with self._preparing:
            if self._ready:
                return
            try:
                self._producer.init_transactions(timeout)
                self._ready = True
            except KafkaException as error:
                raise self._failure(error) from error

    def commit(self, entries: Sequence[Entry], group_metadata: object, timeout: float = 5.0) -> None:
        """Commit all entries. Raises CommitError, and then none of them is."""
        self.prepare()
        try:
            self._abort(timeout)
            partitions = self._count(timeout)
            self._producer.begin_transaction()
            self._open = True
            places = [self._produce(entry, partitions) for entry in entries]
            self._producer.flush(timeout)
            if self._refused or self._waiting.total():
                raise self._undelivered()
            offsets = [
                TopicPartition(*entry.key, entry.offset, snapshots.metadata(partition, offsets))
                for entry, (partition, offsets) in zip(entries, places, strict=True)
            ]
            self._producer.send_offsets_to_transaction(offsets, group_metadata, timeout)
            self._finish(timeout)
            self._open = False
        except KafkaException as error:
            raise self._failure(error) from error
        except BufferError as error:
            raise CommitError(f"the producer's queue is full: {error}") from error
        except SystemError as error:  # Of the client's: a fatal error was raised while it called us back about another.
            raise CommitError(str(error.__cause__ or error), self._refused, fatal=True) from error

    def _abort(self, timeout: float) -> None:
        """End a transaction that failed; what it wrote is read by nobody."""
        if self._open:
            self._producer.abort_transaction(timeout)
            self._open = False
        self._refused, self._waiting = {}, Counter()

    def _undelivered(self) -> CommitError:
        """Topics that refused; or else those that gave no answer, if others did."""
        refused = dict(self._refused)
        silent = {topic for topic, count in self._waiting.items() if count}
        if not refused and silent != self._waiting.keys():
            refused = dict.fromkeys(silent, "no answer; is it there, and may this user write to it?")
        error = CommitError(_refusal(refused, self._waiting.total()), refused)
        try:
            # At once: an open transaction is the broker's to end after a while, and that ends this producer.
            self._abort(TRANSACTION_SECONDS / 3)
        except KafkaException as cause:
            log.info("The transaction is ended at the next time: %s", cause)
        return error

    def _finish(self, timeout: float) -> None:
        """Commit, and ask again while it isn't known whether it was: giving up would write letters twice."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self._producer.commit_transaction(timeout)
                return
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise
                if time.monotonic() > deadline:
                    raise CommitError(f"it isn't known whether it was committed: {error}", fatal=True) from error

    def _produce(self, entry: Entry, partitions: int) -> tuple[int, list[int]]:
        for letter in entry.letters:
            self._waiting[letter.topic] += 1
            self._producer.produce(
                letter.topic, letter.value, letter.key, headers=letter.headers, on_delivery=self._delivered
            )
        parts = snapshots.chunks(entry.packed)
        partition = snapshots.place_of(self._group, entry.key, partitions)
        headers: list[tuple[str, str | bytes | None]] = [
            ("snapshot", uuid.uuid4().hex.encode()),
            ("chunks", str(len(parts)).encode()),
        ]
        offsets: list[int] = []

        def placed(error: KafkaError | None, message: Message) -> None:
            self._delivered(error, message)
            if error is None:
                offsets.append(message.offset() or 0)

        for index, part in enumerate(parts):
            key = snapshots.message_key(self._group, entry.key, index)
            self._waiting[self._topic] += 1
            self._producer.produce(self._topic, part, key, partition, on_delivery=placed, headers=headers)
        return partition, offsets

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        self._waiting[message.topic() or ""] -= 1
        # What is purged because another message of the transaction failed isn't to blame.
        if error is not None and error.code() not in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            self._refused[message.topic() or ""] = error.str()

    def _count(self, timeout: float) -> int:
        if not self._partitions:
            described = self._producer.list_topics(self._topic, timeout).topics[self._topic]
            if described.error is not None:
                raise CommitError(f"{self._topic}: {described.error.str()}", {self._topic: described.error.str()})
            self._partitions = len(described.partitions)
        return self._partitions

    def _failure(self, error: KafkaException) -> CommitError:
        cause: KafkaError = error.args[0]
        fatal = bool(cause.fatal()) or (
            not cause.retriable() and not cause.txn_requires_abort() and cause.code() == KafkaError._STATE
        )
        return CommitError(cause.str(), self._refused, fatal)


def letter(topic: str, source: Key, message: Message, reason: str, detail: str) -> Letter:
    """A message as it came, with where from and why; what a broker wouldn't take is cut, with its hash and size."""
    value = message.value()
    headers = {
        "reason": reason,
        "detail": detail[:500],
        "topic": source[0],
        "partition": str(source[1]),
        "offset": str(message.offset()),
    }
    if value is not None and len(value) > _LETTER_BYTES:
        headers |= {"sha256": hashlib.sha256(value).hexdigest(), "size": str(len(value)), "truncated": "true"}
        value = value[:_LETTER_BYTES]
    encoded: list[tuple[str, str | bytes | None]] = [
        (name, text.encode("utf-8", "replace")) for name, text in headers.items()
    ]
    return Letter(topic, message.key(), value, encoded)


def _refusal(refused: Mapping[str, str], left: int) -> str:
    if not refused:
        return f"the broker took none of {left} messages in time"
    return "; ".join(f"{topic}: {reason}" for topic, reason in sorted(refused.items()))
