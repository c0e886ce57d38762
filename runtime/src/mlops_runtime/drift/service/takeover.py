# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Where a partition that the group has given to this replica goes on, and with what state."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from mlops_runtime.drift.service.catalogue import Catalogue
from mlops_runtime.drift.service.partitions import Held
from mlops_runtime.drift.service.problems import STATE, Problems
from mlops_runtime.drift.service.settings import Settings
from mlops_runtime.drift.service.snapshots import Key, SnapshotError, Snapshots, read_metadata
from mlops_runtime.drift.stream import Stream

log = logging.getLogger(__name__)


class Takeover:
    """Reads snapshots, and makes streams that go on from them."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        snapshots: Snapshots,
        problems: Problems,
        stopped: threading.Event,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._snapshots = snapshots
        self._problems = problems
        self._stopped = stopped

    def hold(self, consumer: Consumer, keys: list[Key], alive: Callable[[], None]) -> list[Held]:
        """Each partition as its predecessor left it. Asks until there is an answer: without it nothing can be scored.

        `alive` is called while it asks.
        """
        while keys and not self._stopped.is_set():
            alive()
            try:
                found = self._find(consumer, keys)
                self._problems.over(STATE)
                return [self._make(key, *found[key]) for key in keys]
            except (KafkaException, SnapshotError) as error:
                self._problems.say(STATE, f"snapshots can't be read: {error}")
                self._stopped.wait(1)
        return []

    def _find(self, consumer: Consumer, keys: list[Key]) -> dict[Key, tuple[int, bytes | None]]:
        """Of each the group's offset and the snapshot."""
        committed = {
            (place.topic, place.partition): place
            for place in consumer.committed([TopicPartition(*key) for key in keys], timeout=10)
        }
        for place in committed.values():
            if place.error is not None:
                raise KafkaException(place.error)
        places = {key: read_metadata(place.metadata) for key, place in committed.items() if place.offset >= 0}
        packed = self._snapshots.read({key: place for key, place in places.items() if place})
        # The group's offsets expire where it is away for long; the topic's snapshots don't.
        strangers = [key for key in keys if key not in packed]
        if strangers:
            packed |= self._snapshots.scan(strangers)
        return {
            key: (committed[key].offset if committed[key].offset >= 0 else OFFSET_BEGINNING, packed.get(key))
            for key in keys
        }

    def _make(self, key: Key, offset: int, packed: bytes | None) -> Held:
        model = key[0].removeprefix(self._settings.prefix)
        stream = Stream(model, self._catalogue.of(model), ids=self._settings.ids)
        held = Held(key, stream, offset, packed)
        try:
            if packed is not None:
                held.start = Stream.offset_of(packed)
            held.waits = not held.restore()
        except ValueError as error:
            log.error("The snapshot of %s can't be taken up, it begins anew: %s", held.name, error)
            held.packed = None
        for note in stream.notes:
            log.warning("%s: %s", held.name, note)
        return held
