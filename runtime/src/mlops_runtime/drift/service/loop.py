# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The loop: messages from the broker to the streams, and what came of them back, by turns, in one thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from mlops_runtime.contracts.prediction_record import topic as topic_of
from mlops_runtime.drift.performance import PERFORMANCE
from mlops_runtime.drift.service.catalogue import Catalogue
from mlops_runtime.drift.service.labels import Labels
from mlops_runtime.drift.service.partitions import Held, Partitions, go_on, hold_back
from mlops_runtime.drift.service.problems import BROKER, Problems
from mlops_runtime.drift.service.settings import Settings
from mlops_runtime.drift.service.snapshots import Key, Snapshots
from mlops_runtime.drift.service.takeover import Takeover
from mlops_runtime.drift.service.writer import Writer
from mlops_runtime.drift.stream import Standing, StreamAlarm

log = logging.getLogger(__name__)

BATCH: Final = 4000
"""Messages that are taken at once: what is scored before anything else is looked at."""
SESSION_SECONDS: Final = 10
_TICK: Final = 0.2
_PROBE_SECONDS: Final = 1.0
_TOPIC_ERRORS: Final = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART)
_TOPIC_ERROR_SECONDS: Final = 45.0
"""A topic's error is told by each refresh of the metadata; one that isn't told any more is over."""


class Loop:
    """`run` is the thread that scores. Everything else looks in under `lock`."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._stopped = threading.Event()
        self.lock = threading.Lock()
        self.partitions = Partitions()
        self.joined = False
        """Whether the group has given this replica its part, which may be none."""
        self.beat = time.monotonic()
        """When the loop last went round."""
        self.problems = Problems()
        self._topic_errors: dict[str, float] = {}
        self._topics: dict[str, str] = {}
        self._generation = -1
        self._ticked = 0.0
        self._probed = 0.0
        self._begun = False
        broker = {**settings.broker, "client.id": f"drift-{settings.instance}".rstrip("-")}
        self._consumer = Consumer(
            {
                **broker,
                "group.id": settings.group,
                **({"group.instance.id": settings.instance} if settings.instance else {}),
                "partition.assignment.strategy": "cooperative-sticky",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": SESSION_SECONDS * 1000,
                "heartbeat.interval.ms": 2000,
                "topic.metadata.refresh.interval.ms": 15_000,
                "fetch.wait.max.ms": 100,
                "fetch.error.backoff.ms": 100,
                "queued.max.messages.kbytes": 16_384,
                "queued.min.messages": 20_000,
                "error_cb": self._broker_error,
            }
        )
        self._labels = Labels(broker, settings.group, settings.prefix, self.problems)
        self._snapshots = Snapshots(broker, settings.state_topic, settings.group)
        self._takeover = Takeover(settings, catalogue, self._snapshots, self.problems, self._stopped)
        self._writer = Writer(settings, self._consumer, self.partitions, self.lock, self.problems)

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        """Until `stop`, or until the group says that another has this replica's name. Raises KafkaException then."""
        self._writer.prepare()
        try:
            while not self._stopped.is_set():
                self._turn()
            # What was scored isn't scored again, so that a successor begins where this ends.
            self._writer.write({held.key for held in self.partitions})
        finally:
            with self.lock:
                self.partitions.clear()
            self._consumer.close()
            self._labels.close()
            self._snapshots.close()

    def _turn(self) -> None:
        self.beat = time.monotonic()
        if self._catalogue.generation != self._generation:
            self._follow()
        if not self._topics:
            self._catalogue.wait(self._generation, _TICK)
            return
        message = self._consumer.poll(_TICK)
        if message is not None:
            messages = [message, *self._consumer.consume(BATCH - 1, 0)]
            self._take(messages)
        for held, alarm in self._labels.take(self.lock):
            _tell(held, alarm)
        now = time.monotonic()
        if now - self._ticked >= _TICK:
            self._ticked = now
            self._tick(now)

    def _take(self, messages: Sequence[Message]) -> None:
        streams: dict[Key, list[Message]] = {}
        for message in messages:
            if message.error() is not None:
                self._message_error(message)
                continue
            key = (message.topic() or "", message.partition() or 0)
            found = streams.get(key)
            if found is None:
                streams[key] = [message]
            else:
                found.append(message)
        with self.lock:
            for key, of_stream in streams.items():
                held = self.partitions.get(key)
                if held is not None and not held.waits and not held.refused:
                    self._score(held, of_stream)

    def _score(self, held: Held, messages: Sequence[Message]) -> None:
        alarms, waits_at = held.take(messages, self._settings.prefix)
        if not self._begun:
            self._begun = True
            log.info("The first message is scored")
        for alarm in alarms:
            _tell(held, alarm)
        if waits_at is not None:
            held.waits = True
            hold_back(self._consumer, held, waits_at)

    def _tick(self, now: float) -> None:
        self._writer.tick(now)
        with self.lock:
            for held in self.partitions:
                self._measure(held)
                if held.waits and held.restore() and held.stream.resolved():
                    held.waits = False
                    go_on(self._consumer, held)
        self._labels.follow(self.partitions, self.lock)
        for topic in [topic for topic, at in self._topic_errors.items() if now - at > _TOPIC_ERROR_SECONDS]:
            del self._topic_errors[topic]
            self.problems.over(topic)
        if (BROKER in self.problems or not self.joined) and now - self._probed > _PROBE_SECONDS:
            self._probe()
            self._probed = now

    def _probe(self) -> None:
        """Whether the broker is there: a stream without messages wouldn't tell.

        The client says that all brokers are down only where it has had them all, its coordinators among them.
        """
        try:
            self._consumer.list_topics(self._settings.state_topic, timeout=0.5)
        except KafkaException as error:
            if BROKER not in self.problems:
                self.problems.say(BROKER, f"it doesn't answer: {error.args[0].str()}")
            return
        if BROKER in self.problems:
            self.problems.over(BROKER)
            self._writer.renew()

    def _measure(self, held: Held) -> None:
        try:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(*held.key), cached=True)
            held.high = high
        except KafkaException:
            held.high = -1

    def names(self, model: str, version: str) -> bool:
        """Whether the registry asks for that version to be watched."""
        return self._catalogue.names(model, version)

    def _follow(self) -> None:
        """The catalogue has changed: other topics, other versions."""
        self._generation = self._catalogue.generation
        topics = {topic_of(model, self._settings.prefix): model for model in self._catalogue.models}
        with self.lock:
            for held in self.partitions:
                held.stream.renew()
                for version in list(held.stream.watchers):
                    if self._catalogue.find(held.stream.model, version, 0)[1] is Standing.UNKNOWN:
                        held.stream.drop(version)
        if topics.keys() != self._topics.keys():
            self._topics = topics
            if topics:
                log.info("Topics: %s", ", ".join(sorted(topics)))
                self._consumer.subscribe(
                    sorted(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
                )
            else:
                self._consumer.unsubscribe()

    def _assigned(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        taken = self._takeover.hold(consumer, [(place.topic, place.partition) for place in places], self._is_alive)
        with self.lock:
            for held in taken:
                self.partitions.add(held)
        consumer.incremental_assign([TopicPartition(*held.key, held.offset) for held in taken])
        waiting = [TopicPartition(*held.key) for held in taken if held.waits]
        if waiting:
            consumer.pause(waiting)
        self.joined = True
        if taken:
            log.info("Taken up: %s", ", ".join(held.name for held in taken[:20]))

    def _is_alive(self) -> None:
        self.beat = time.monotonic()

    def _revoked(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        keys = {(place.topic, place.partition) for place in places}
        self._writer.write(keys)
        self._let_go(keys)
        consumer.incremental_unassign(places)

    def _lost(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Others have them already: what isn't committed is theirs to do."""
        self._let_go({(place.topic, place.partition) for place in places})
        consumer.incremental_unassign(places)
        self.joined = False
        log.warning("The group has given this replica's partitions to others: it was away for too long")

    def _let_go(self, keys: set[Key]) -> None:
        with self.lock:
            for key in keys:
                self.partitions.remove(key)

    def _message_error(self, message: Message) -> None:
        error: Any = message.error()
        if error.fatal():
            raise KafkaException(error)
        if error.code() in _TOPIC_ERRORS:
            topic = message.topic() or "a topic"
            self._topic_errors[topic] = time.monotonic()
            self.problems.say(topic, error.str())
            return
        self.problems.say(BROKER, error.str())

    def _broker_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN or not self.joined:
            self.problems.say(BROKER, error.str())


def _tell(held: Held, alarm: StreamAlarm) -> None:
    log.warning(
        "%s of model %s version %s: %s%s is %.4g, above %.4g, at row %d (%s [%d] %d)",
        "Loss" if alarm.detector == PERFORMANCE else "Drift",
        held.stream.model,
        alarm.version,
        alarm.detector,
        f" of {alarm.feature}" if alarm.feature else "",
        alarm.statistic,
        alarm.threshold,
        alarm.row,
        *held.key,
        alarm.offset,
    )
