# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Consumes records and labels, writes chunks, commits offsets after them, deletes what is too old.

One thread. While MLflow is away, chunks grow up to a bound, then nothing is read any more, and nothing is lost: the
broker keeps it. With several replicas, a partition has one of them at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from mlops_runtime.contracts.mlflow import Mlflow, MlflowError
from mlops_runtime.contracts.prediction_record import labels_topic, topic
from mlops_runtime.drift.archive.catalogue import archived_models
from mlops_runtime.drift.archive.chunk import LABELS, RECORDS, Message, files_of
from mlops_runtime.drift.archive.settings import Settings
from mlops_runtime.drift.archive.store import Chunk, Store

log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 5.0
_CLEANING_SECONDS: Final = 3600.0
_AT_ONCE: Final = 100  # messages, of up to a megabyte each: so far may what is held exceed its bound
_MEMORY_OF_A_MESSAGE: Final = 200

Place = tuple[str, int]


@dataclass(slots=True)
class Growing:
    """A chunk that isn't written yet."""

    messages: list[Message] = field(default_factory=list)
    bytes: int = 0
    since: float = field(default_factory=time.monotonic)

    def add(self, message: Message) -> None:
        self.messages.append(message)
        self.bytes += len(message.value) + len(message.key) + _MEMORY_OF_A_MESSAGE


class Loop:
    """`counts` and `problem` may be read from other threads."""

    def __init__(self, settings: Settings, mlflow: Mlflow | None = None) -> None:
        self._settings = settings
        self._mlflow = mlflow or Mlflow(settings.tracking)
        self._store = Store(self._mlflow, settings.experiment)
        self._consumer = Consumer(
            {
                **settings.broker,
                "group.id": settings.group,
                "client.id": "archive",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "partition.assignment.strategy": "cooperative-sticky",
                "queued.max.messages.kbytes": 8192,
                # One chunk's files, each with its time-out, have to be written within.
                "max.poll.interval.ms": 900_000,
                "session.timeout.ms": 45_000,
                "log_level": 2,
            }
        )
        self._models: dict[str, timedelta | None] = {}
        self._topics: dict[str, tuple[str, str]] = {}
        self._growing: dict[Place, Growing] = {}
        self._paused = False
        self._look_at = self._clean_at = self._retry_at = 0.0
        self._stop = threading.Event()
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.problem = "the models aren't known yet"
        self.beat = time.monotonic()

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Until `stop`; what has grown by then is written."""
        try:
            while not self._stop.is_set():
                self.turn()
            self.write_all()
        finally:
            self._consumer.close()

    def turn(self) -> None:
        now = self.beat = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + self._settings.poll_seconds
            self._look()
        if self._models and now >= self._clean_at:
            self._clean_at = now + _CLEANING_SECONDS
            self._clean()
        if not self._topics:
            self._stop.wait(min(1.0, self._settings.poll_seconds))
            return
        for message in self._consumer.consume(_AT_ONCE, 0.5):
            self._take(message)
        self._write_due()

    # Models

    def _look(self) -> None:
        """Which topics there are to read, by the registry and the broker."""
        try:
            self._models = archived_models(self._mlflow, self._settings.retention)
            there = self._consumer.list_topics(timeout=10).topics
        except MlflowError as error:
            self._failed(str(error))
            return
        except KafkaException as error:
            self.problem = f"the broker: {error.args[0].str()}"
            log.warning("%s", self.problem)
            return
        self.problem = ""
        wanted: dict[str, tuple[str, str]] = {}
        for model in self._models:
            wanted[topic(model, self._settings.prefix)] = (model, RECORDS)
            wanted[labels_topic(model, self._settings.prefix)] = (model, LABELS)
        found = {name: about for name, about in wanted.items() if name in there}
        if found.keys() != self._topics.keys():
            log.info("Keeping the stream of %s", ", ".join(sorted(found)) or "no topic")
            self._topics = found
            self._growing = {place: growing for place, growing in self._growing.items() if place[0] in found}
            if found:
                self._consumer.subscribe(sorted(found), on_revoke=self._forget, on_lost=self._forget)
            else:
                self._consumer.unsubscribe()

    def _forget(self, _consumer: Any, partitions: Iterable[TopicPartition]) -> None:
        """They are another's now, who reads again what wasn't committed."""
        for partition in partitions:
            self._growing.pop((partition.topic, partition.partition), None)

    def _failed(self, reason: str) -> None:
        self.counts["failures",] += 1
        if self.problem != reason:
            log.warning("%s", reason)
        self.problem = reason

    # Messages

    def _take(self, message: Any) -> None:
        if message.error() is not None:
            if message.error().code() != KafkaError._PARTITION_EOF:
                self.problem = f"the broker: {message.error().str()}"
                log.warning("%s", self.problem)
            return
        place = (message.topic(), message.partition())
        if place[0] not in self._topics:
            return
        growing = self._growing.get(place)
        if growing is None:
            growing = self._growing[place] = Growing()
        growing.add(Message(message.offset(), message.key() or b"", message.value() or b"null", message.timestamp()[1]))

    def _write_due(self) -> None:
        now = time.monotonic()
        if now < self._retry_at:
            return
        settings = self._settings
        due = [
            place
            for place, growing in self._growing.items()
            if len(growing.messages) >= settings.messages
            or growing.bytes >= settings.bytes
            or now - growing.since >= settings.seconds
        ]
        held = sum(growing.bytes for growing in self._growing.values())
        if not due and held > settings.held_bytes:
            due = [max(self._growing, key=lambda place: self._growing[place].bytes)]
        for place in due:
            if not self._write(place):
                self._retry_at = time.monotonic() + _RETRY_SECONDS
                break
        self._hold(sum(growing.bytes for growing in self._growing.values()) > settings.held_bytes)

    def _hold(self, full: bool) -> None:
        """Stop reading while there is no room; the group's heartbeat goes on."""
        assigned = self._consumer.assignment()
        if full:
            self._consumer.pause(assigned)
        elif self._paused:
            self._consumer.resume(assigned)
        self._paused = full

    def write_all(self) -> bool:
        """Write all that has grown. False where MLflow or the broker doesn't take it."""
        written = [self._write(place) for place in list(self._growing)]  # all, even if one fails
        return all(written)

    def _write(self, place: Place) -> bool:
        growing = self._growing[place]
        name, partition = place
        model, kind = self._topics[name]
        messages = growing.messages[: self._settings.messages]
        files, unreadable = files_of(kind, partition, messages)
        chunk = Chunk(model, kind, name, partition, messages[0], messages[-1], files, len(unreadable))
        try:
            size = self._store.write(chunk)
            self._consumer.commit(
                offsets=[TopicPartition(name, partition, messages[-1].offset + 1)], asynchronous=False
            )
        except MlflowError as error:
            self._failed(str(error))
            return False
        except KafkaException as error:
            self.problem = f"the broker doesn't take the offset of {name} [{partition}]: {error.args[0].str()}"
            log.warning("%s", self.problem)
            return False
        self.problem = ""
        self.counts["rows", model, kind] += sum(file.rows for file in files)
        self.counts["unreadable", model] += len(unreadable)
        self.counts["bytes", model] += size
        for one in unreadable[:3]:
            log.warning("%s [%d] offset %d isn't kept: %s", name, partition, one.offset, one.reason)
        left = growing.messages[len(messages) :]
        del self._growing[place]
        if left:
            rest = self._growing[place] = Growing()
            for message in left:
                rest.add(message)
        return True

    def oldest(self) -> dict[str, float]:
        """By model, how many seconds ago the oldest message was read that isn't stored yet."""
        now, ages = time.monotonic(), {model: 0.0 for model, _ in list(self._topics.values())}
        for (name, _), growing in list(self._growing.items()):
            if about := self._topics.get(name):
                ages[about[0]] = max(ages.get(about[0], 0.0), now - growing.since)
        return ages

    # Retention

    def _clean(self) -> None:
        for model, retention in self._models.items():
            if retention is None:
                continue
            try:
                count = self._store.delete_before(model, (datetime.now(UTC) - retention).date())
            except MlflowError as error:
                self._failed(str(error))
                self._clean_at = time.monotonic() + _RETRY_SECONDS
                continue
            if count:
                self.counts["deleted", model] += count
                log.info("Deleted %d files of model %s that are older than %s", count, model, retention)
