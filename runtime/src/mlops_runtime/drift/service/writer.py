# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""When what is written: snapshots by and by, beside the loop, and at once before partitions are given away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from mlops_runtime.drift.service.ledger import CommitError, Entry, Ledger
from mlops_runtime.drift.service.partitions import LETTER_BYTES, Held, Partitions, go_on, hold_back
from mlops_runtime.drift.service.problems import COMMIT, Problems
from mlops_runtime.drift.service.settings import Settings
from mlops_runtime.drift.service.snapshots import Key, ensure_topic

_RETRY_SECONDS: Final = 5.0
"""Until a topic that refused is tried again."""
_AGAIN_SECONDS: Final = 1.0
"""Until a broker that didn't answer is tried again."""
_STUCK_SECONDS: Final = 25.0
"""A transaction that takes longer hangs: librdkafka heeds no time limit while the group's coordinator changes
(https://github.com/confluentinc/librdkafka/issues/5456, 5511). Its producer is given up for a new one."""


@dataclass(frozen=True)
class _Sent:
    """A transaction on its way."""

    held: list[Held]
    entries: list[Entry]
    future: Future[None]
    at: float


@dataclass(frozen=True)
class _Doubt:
    """A transaction of which it isn't known whether it was committed; the group's offsets will tell."""

    sent: _Sent
    future: Future[dict[Key, int]]
    at: float


class Writer:
    """One transaction at a time, in a thread of its own. Its methods are the loop's to call."""

    def __init__(
        self, settings: Settings, consumer: Consumer, partitions: Partitions, lock: threading.Lock, problems: Problems
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._partitions = partitions
        self._lock = lock
        self._problems = problems
        self._ledger = self._new_ledger()
        self._sent: _Sent | None = None
        self._doubt: _Doubt | None = None
        self._count = 0
        self._made = False
        self._preparation: Future[None] | None = None
        self._prepare_at = 0.0

    def prepare(self) -> None:
        """Begin with what the first transaction needs, while the first messages are scored."""
        self._preparation = _beside(self._prepare, self._ledger)

    def tick(self, now: float) -> None:
        """Settle what has come to an end; send what is due."""
        self._settle_preparation(now)
        self._settle()
        if self._sent is not None or not self._is_clear():
            return
        with self._lock:
            due = [held for held in self._partitions if self._is_due(held, now)]
        sound = [held for held in due if not held.refused]
        refused = [held for held in due if held.refused][:1]
        # What was refused before goes alone, so that it takes no other along; in turns, so that neither starves.
        wanted = refused if refused and (self._count % 2 or not sound) else sound
        if wanted:
            self._send(wanted)

    def renew(self) -> None:
        """After an outage: a producer that has been through one may hang.

        Not while one is being prepared: it goes on beside a time-out of ours, and would fence the new one.
        """
        being_prepared = self._preparation is not None or self._prepare_at > 0
        if self._sent is None and self._doubt is None and not being_prepared:
            self._ledger = self._new_ledger()

    def write(self, keys: Collection[Key]) -> None:
        """Write what there is of these, and wait for it; where a topic refuses, without those of it."""
        self._settle(wait=True)
        for _ in range(2):
            due = [held for held in self._partitions if held.key in keys and held.dirty and not held.refused]
            # In doubt nothing is written: whoever takes them over begins at what is committed.
            if due and self._is_clear():
                self._send(due)
                self._settle(wait=True)

    def _settle_preparation(self, now: float) -> None:
        """What couldn't be prepared is tried again: a right may have been given, or the broker be there now."""
        preparation = self._preparation
        if preparation is None:
            if self._prepare_at and now >= self._prepare_at and self._sent is None and self._doubt is None:
                self._prepare_at = 0.0
                self.prepare()
            return
        if not preparation.done():
            return
        self._preparation = None
        try:
            preparation.result()
        except CommitError as error:
            self._problems.say(COMMIT, f"it isn't ready yet: {error}")
            if error.fatal:
                self._ledger = self._new_ledger()
            self._prepare_at = now + _RETRY_SECONDS
            return
        self._problems.over(COMMIT)

    def _is_due(self, held: Held, now: float) -> bool:
        if held.refused:
            return now >= held.retry_at
        late = now - held.snapshot_at >= self._settings.snapshot_seconds
        return held.dirty and (late or held.letter_bytes > LETTER_BYTES)

    def _send(self, due: list[Held]) -> None:
        with self._lock:
            entries = [held.entry() for held in due]
        metadata = self._consumer.consumer_group_metadata()
        future = _beside(self._write, self._ledger, entries, metadata)
        self._sent = _Sent(due, entries, future, time.monotonic())
        self._count += 1

    def _settle(self, wait: bool = False) -> None:
        """Take note of what became of the transaction that was sent, if it has come to an end or hangs."""
        sent = self._sent
        if sent is None:
            return
        left = sent.at + _STUCK_SECONDS - time.monotonic()
        if not wait and left > 0 and not sent.future.done():
            return
        self._sent = None
        try:
            sent.future.result(max(0.0, left))
        except CommitError as error:
            self._failed(sent, error)
            return
        except TimeoutError:
            self._failed(sent, CommitError(f"no end after {_STUCK_SECONDS:g} s", fatal=True))
            return
        self._problems.over(COMMIT)
        for held, entry in zip(sent.held, sent.entries, strict=True):
            self._done(held, entry)

    def _done(self, held: Held, entry: Entry) -> None:
        with self._lock:
            held.done(entry)
        if held.refused:
            held.refused = ""
            self._problems.over(held.name)
            go_on(self._consumer, held)

    def _is_clear(self) -> bool:
        """Whether the group's offsets have told what became of a transaction in doubt."""
        doubt = self._doubt
        if doubt is None:
            return True
        left = doubt.at + _STUCK_SECONDS - time.monotonic()
        if left > 0 and not doubt.future.done():
            return False
        try:
            committed = doubt.future.result(0)
        except (CommitError, KafkaException, TimeoutError) as error:
            if isinstance(error, TimeoutError) or (isinstance(error, CommitError) and error.fatal):
                self._ledger = self._new_ledger()
            self._ask(doubt.sent)
            return False
        self._doubt = None
        for held, entry in zip(doubt.sent.held, doubt.sent.entries, strict=True):
            # Where only labels came, the offset doesn't tell: it is written again.
            if committed.get(entry.key) == entry.offset != held.committed:
                self._done(held, entry)
        return True

    def _ask(self, sent: _Sent) -> None:
        """Ask the group's offsets what became of it."""
        self._doubt = _Doubt(sent, _beside(self._committed, self._ledger, sent.entries), time.monotonic())

    def _committed(self, ledger: Ledger, entries: list[Entry]) -> dict[Key, int]:
        """The group's offsets, once the new producer has ended what the one before left open."""
        ledger.prepare()
        places = self._consumer.committed([TopicPartition(*entry.key) for entry in entries], timeout=10)
        return {(place.topic, place.partition): place.offset for place in places}

    def _failed(self, sent: _Sent, error: CommitError) -> None:
        now, due = time.monotonic(), sent.held
        if error.fatal:
            self._problems.say(COMMIT, f"the transaction is given up, and a new producer made: {error}")
            self._ledger = self._new_ledger()
            self._ask(sent)
        to_blame = [held for held in due if {made.topic for made in held.letters} & error.topics.keys()]
        for held in to_blame:
            if not held.refused:
                hold_back(self._consumer, held, held.offset)
            held.refused, held.retry_at = str(error), now + _RETRY_SECONDS
            self._problems.say(held.name, f"its dead letters can't be written: {error}")
        if not to_blame:
            self._problems.say(COMMIT, f"nothing was committed: {error}")
        for held in due:
            # The others again at once, and all of them soon where it was the broker as a whole.
            held.snapshot_at = now - self._settings.snapshot_seconds + (0.0 if to_blame else _AGAIN_SECONDS)

    def _write(self, ledger: Ledger, entries: list[Entry], metadata: object) -> None:
        self._make_topic()
        ledger.commit(entries, metadata)

    def _prepare(self, ledger: Ledger) -> None:
        self._make_topic()
        ledger.prepare()

    def _make_topic(self) -> None:
        topic = self._settings.state_topic
        if not self._made:
            try:
                ensure_topic(self._settings.broker, topic)
            except KafkaException as error:
                raise CommitError(f"{topic} isn't there and can't be made: {error.args[0].str()}") from error
            self._made = True

    def _new_ledger(self) -> Ledger:
        settings = self._settings
        return Ledger(settings.broker, settings.state_topic, settings.group, settings.instance)


def _beside(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Run in a thread that doesn't keep the process from ending."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, name="writer", daemon=True).start()
    return future
