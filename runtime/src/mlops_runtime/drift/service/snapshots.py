# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Snapshots of streams in a compacted topic, and how the newest of a partition is found.

A snapshot is committed in one transaction with the group's offset; the offset's metadata says where in the topic the
snapshot lies. So a successor reads that one place, wherever it runs. Where the group's offsets have expired, the topic
is read as a whole.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast
from zlib import crc32

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

log = logging.getLogger(__name__)

CHUNK: Final = 900_000
"""Bytes of a message: less than brokers take by default."""
_SKIPPED: Final = 200
"""Messages that are read over rather than sought past."""

Key = tuple[str, int]
"""Topic and partition of a stream."""


class SnapshotError(Exception):
    """A snapshot that must be there can't be read."""


def chunks(packed: bytes) -> list[bytes]:
    return [packed[begin : begin + CHUNK] for begin in range(0, len(packed), CHUNK)] or [b""]


def message_key(group: str, key: Key, chunk: int) -> bytes:
    return f"{group}/{key[0]}/{key[1]}/{chunk}".encode()


def place_of(group: str, key: Key, partitions: int) -> int:
    """The partition of the state topic that a stream's snapshots go to."""
    return crc32(f"{group}/{key[0]}/{key[1]}".encode()) % partitions


def metadata(partition: int, offsets: list[int]) -> str:
    """What the group's offset says of its snapshot."""
    return json.dumps({"snapshot": [partition, *offsets]}, separators=(",", ":"))


def read_metadata(text: str | None) -> list[int]:
    """Partition and offsets of a snapshot's chunks; empty where there is none."""
    try:
        found = json.loads(text or "{}")["snapshot"]
        return [int(item) for item in found]
    except (KeyError, TypeError, ValueError):
        return []


def ensure_topic(broker: Mapping[str, Any], topic: str) -> None:
    """Make the topic where it doesn't exist and may be made; where the platform has made it, nothing is done."""
    admin = AdminClient(dict(broker))
    described = admin.list_topics(topic, timeout=10).topics[topic]
    if described.error is None or described.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        return
    made = NewTopic(topic, num_partitions=1, replication_factor=-1, config={"cleanup.policy": "compact"})
    try:
        admin.create_topics([made])[topic].result(10)
        log.info("Made the topic %s", topic)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


class Snapshots:
    """Reads what was committed."""

    def __init__(self, broker: Mapping[str, Any], topic: str, group: str) -> None:
        self._topic, self._group = topic, group
        self._consumer = Consumer(
            {
                **broker,
                "group.id": f"{group}-state",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                # Told at the end of what is committed; a position would stand before the last transaction's marker.
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "queued.max.messages.kbytes": 8192,
                "fetch.wait.max.ms": 50,
            }
        )

    def close(self) -> None:
        self._consumer.close()

    def read(self, places: Mapping[Key, list[int]], timeout: float = 30.0) -> dict[Key, bytes]:
        """Snapshots by their places. Raises SnapshotError where one isn't whole, and KafkaException."""
        wanted: dict[int, dict[int, Key]] = {}
        for key, (partition, *offsets) in places.items():
            for offset in offsets:
                wanted.setdefault(partition, {})[offset] = key
        parts: dict[Key, dict[int, bytes]] = {key: {} for key in places}
        if places:
            # Asked for aloud: the client's own timer finds a topic's leader only after a second.
            self._consumer.list_topics(self._topic, timeout=10)
        for partition, keys in wanted.items():
            for offset, value in self._at(partition, sorted(keys), timeout):
                parts[keys[offset]][offset] = value
        return {key: b"".join(value for _, value in sorted(parts[key].items())) for key in places}

    def _at(self, partition: int, offsets: list[int], timeout: float) -> Iterable[tuple[int, bytes]]:
        deadline = time.monotonic() + timeout
        place = -1
        for offset in offsets:
            if place < 0 or offset - place > _SKIPPED:
                self._consumer.assign([TopicPartition(self._topic, partition, offset)])
            while True:
                message = self._consumer.poll(0.5)
                if message is None:
                    if time.monotonic() > deadline:
                        raise SnapshotError(f"{self._topic} [{partition}] gave nothing at {offset} in {timeout:g} s")
                    continue
                error = message.error()
                if error is not None:
                    if error.retriable() or error.code() == KafkaError._PARTITION_EOF:
                        if time.monotonic() > deadline:
                            raise SnapshotError(f"{self._topic} [{partition}] ends before {offset}")
                        continue
                    raise KafkaException(error)
                place = message.offset() or 0
                if place > offset:
                    raise SnapshotError(f"{self._topic} [{partition}] has no message at {offset}: it was deleted")
                if place == offset:
                    yield offset, message.value() or b""
                    break

    def scan(self, keys: Iterable[Key], timeout: float = 60.0) -> dict[Key, bytes]:
        """The newest whole snapshot of each that there is, by reading all of the topic."""
        names = {message_key(self._group, key, 0).rpartition(b"/")[0]: key for key in keys}
        described = self._consumer.list_topics(self._topic, timeout=10).topics[self._topic]
        if described.error is not None:
            if described.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return {}
            raise KafkaException(described.error)
        found: dict[Key, tuple[bytes, dict[int, bytes], int]] = {}
        deadline = time.monotonic() + timeout
        for partition in described.partitions:
            self._consumer.assign([TopicPartition(self._topic, partition, OFFSET_BEGINNING)])
            while True:
                message = self._consumer.poll(0.5)
                if time.monotonic() > deadline:
                    raise SnapshotError(f"{self._topic} can't be read to its end in {timeout:g} s")
                if message is None:
                    continue
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        break
                    if error.retriable():
                        continue
                    raise KafkaException(error)
                name, _, chunk = (message.key() or b"").rpartition(b"/")
                if name in names and chunk.isdigit():
                    headers = dict(cast("list[tuple[str, bytes]]", message.headers() or []))
                    _collect(found, names[name], int(chunk), headers, message.value() or b"")
        return {
            key: b"".join(parts[index] for index in range(count))
            for key, (_, parts, count) in found.items()
            if len(parts) == count
        }


def _collect(
    found: dict[Key, tuple[bytes, dict[int, bytes], int]],
    key: Key,
    chunk: int,
    headers: Mapping[str, Any],
    value: bytes,
) -> None:
    name, count = headers.get("snapshot", b""), int(headers.get("chunks", b"0"))
    if key not in found or found[key][0] != name:
        found[key] = name, {}, count
    found[key][1][chunk] = value
