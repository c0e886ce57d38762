# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""One partition of a model's stream: messages in their order in; scores, alarms and dead letters out. Labels, which
arrive late on a topic of their own, belong to the same partition of it.

Knows nothing of Kafka. Its state is all that a successor needs to go on at the next message as if nothing had happened,
and what comes out doesn't depend on how messages are grouped into calls.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol

import numpy as np
import orjson

from mlops_runtime.contracts.prediction_record import SCHEMA
from mlops_runtime.drift.artefact import Artefact
from mlops_runtime.drift.packing import pack, unpack
from mlops_runtime.drift.performance import PERFORMANCE
from mlops_runtime.drift.protocol import Alarm, Arrays, FloatArray
from mlops_runtime.drift.reading import MAX_BYTES, read_label, read_record, time_of
from mlops_runtime.drift.recent import RecentIds
from mlops_runtime.drift.schema import Reason, Rejected, RowReader
from mlops_runtime.drift.watcher import Watcher

KEPT_ALARMS = 50


class Standing(Enum):
    """Of a version without detectors here."""

    UNKNOWN = "unknown"
    """There is none: its messages are dead letters."""
    PENDING = "pending"
    """It isn't known yet, or its artefact isn't here yet: its messages wait."""
    UNWATCHED = "unwatched"
    """It has no artefact that can be used: its messages are counted and passed over."""


class NotYet(Exception):
    """A state can't be taken up before the registry has told what its versions are."""


class Versions(Protocol):
    """What is known of a model's versions."""

    def find(self, version: str | None, made: float = -math.inf, /) -> tuple[str, Artefact | Standing]:
        """A version's name and artefact; None: the one that records without a version are of.

        `made`: when the record was (seconds since the epoch). A version that isn't known is UNKNOWN if the registry
        was asked after that, and PENDING until it is.
        """
        ...


class Message(NamedTuple):
    """A message of a partition; a plain tuple of the same three is as good."""

    offset: int
    milliseconds: int
    """When it was made, as the message itself says."""
    value: bytes | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    offset: int
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class StreamAlarm:
    """An alarm, with the message that it came from."""

    version: str
    detector: str
    feature: str
    row: int
    statistic: float
    threshold: float
    offset: int
    time: float


@dataclass(slots=True)
class Outcome:
    """What came of a call. `held`: the offset of the first message that must wait, which was not taken."""

    alarms: list[StreamAlarm] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    held: int | None = None


@dataclass(slots=True)
class _Batch:
    """Rows of one version that are scored together."""

    reader: RowReader
    times: list[float] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    answers: list[FloatArray] = field(default_factory=list)
    """Scores of the records', where the model's outputs are watched."""
    requests: list[tuple[str, int]] = field(default_factory=list)
    """Then also each record's id, and how many rows it has."""


class Stream:
    """Of one model, on one partition. A model without a name takes records of any."""

    def __init__(self, model: str, versions: Versions, *, ids: int = 10_000, max_bytes: int = MAX_BYTES) -> None:
        self.model = model
        self._versions = versions
        self._max_bytes = max_bytes
        self.watchers: dict[str, Watcher] = {}
        self.offset: int | None = None
        """Of the next message; None before the first."""
        self.labels_offset: int | None = None
        """Of the next label; None before the first."""
        self.dead: dict[str, int] = {}
        """Dead letters by reason."""
        self.unwatched: dict[str, int] = {}
        """Messages that were passed over, by version."""
        self.alarms: deque[StreamAlarm] = deque(maxlen=KEPT_ALARMS)
        self.misfits: dict[str, str] = {}
        """Versions of which no record could be scored so far, and why: the artefact may not fit the model."""
        self.notes: list[str] = []
        """What whoever restored it should know."""
        self._recent = RecentIds(ids)
        self._time = 0.0
        self._readers: dict[str, RowReader] = {}
        self._names: dict[str | None, str | Standing] = {}
        self._pending: tuple[str | None, float] | None = None

    def take(self, messages: Sequence[tuple[int, int, bytes | None]]) -> Outcome:
        """Take in messages, in their order."""
        outcome = Outcome()
        batches: dict[str, _Batch] = {}
        for offset, milliseconds, value in messages:
            if not self._read_plain(offset, milliseconds, value, batches):
                try:
                    if not self._read(Message(offset, milliseconds, value), batches):
                        outcome.held = offset
                        break
                except Rejected as error:
                    outcome.dead.append(DeadLetter(offset, error.reason, error.detail))
                    self.dead[error.reason.value] = self.dead.get(error.reason.value, 0) + 1
            self.offset = offset + 1
        for version, batch in batches.items():
            if batch.times:
                self._score(version, batch, outcome)
        # The stream's own order, not that of the versions' batches.
        outcome.alarms.sort(key=lambda alarm: (alarm.offset, alarm.version, alarm.row))
        self.alarms += outcome.alarms
        return outcome

    @property
    def takes_labels(self) -> bool:
        """Whether there is a version whose performance is watched, and that was met already."""
        return any(watcher.performance for watcher in self.watchers.values())

    def take_labels(self, messages: Sequence[tuple[int, int, bytes | None]]) -> Outcome:
        """Take in labels, in their order."""
        outcome = Outcome()
        for offset, milliseconds, value in messages:
            try:
                self._label(offset, milliseconds, value, outcome)
            except Rejected as error:
                outcome.dead.append(DeadLetter(offset, error.reason, error.detail))
                self.dead[error.reason.value] = self.dead.get(error.reason.value, 0) + 1
            self.labels_offset = offset + 1
        self.alarms += outcome.alarms
        return outcome

    def _label(self, offset: int, milliseconds: int, value: bytes | None, outcome: Outcome) -> None:
        """A label doesn't say of which version it is: of the one that awaits it, or of any where none does yet."""
        request, label = read_label(value, self._max_bytes)
        watched = {name: watcher for name, watcher in self.watchers.items() if watcher.performance}
        awaiting = {name: watcher for name, watcher in watched.items() if watcher.awaits(request)}
        refused = ""
        taken = 0
        for version, watcher in (awaiting or watched).items():
            try:
                alarms = watcher.label(request, label)
            except (TypeError, ValueError) as error:
                refused = str(error)
                continue
            taken += 1
            outcome.alarms += [_of_stream(version, PERFORMANCE, alarm, offset, milliseconds / 1000) for alarm in alarms]
        if refused and not taken:
            raise Rejected(Reason.WRONG_LABEL, refused[:300])

    def resolved(self) -> bool:
        """Whether what the message that must wait is of is known by now."""
        if self._pending is not None and self._versions.find(*self._pending)[1] is not Standing.PENDING:
            self._pending = None
        return self._pending is None

    def renew(self) -> None:
        """The registry says something new: ask it again what each version is."""
        self._names.clear()

    def drop(self, version: str) -> None:
        """Forget a version that is watched no more."""
        self.watchers.pop(version, None)
        self._readers.pop(version, None)
        self.misfits.pop(version, None)
        self._names.clear()

    def _read_plain(self, offset: int, milliseconds: int, value: bytes | None, batches: dict[str, _Batch]) -> bool:
        """The short way for what nearly all messages are: one row of numbers, whole, of a version met before.

        False: nothing was taken, and `_read` has to look closer. Where both can read a message they do the same.
        """
        try:
            record = orjson.loads(value)  # type: ignore[arg-type]
            batch = batches[record["version"]]
            (row,) = record["X"]
            reader, name = batch.reader, record["id"]
            if (
                type(name) is not str
                or name in self._recent
                or record["model"] != self.model
                or record["schema"] != SCHEMA
                or record["names"] != reader.names
                or len(row) != reader.width
                or not reader.is_plain
                or len(value) > self._max_bytes  # type: ignore[arg-type]
            ):
                return False
            reader.append(row)
        except (KeyError, TypeError, ValueError):
            return False
        self._recent.add(name)
        batch.times.append(self._when(record.get("ts"), milliseconds))
        batch.offsets.append(offset)
        return True

    def _read(self, message: Message, batches: dict[str, _Batch]) -> bool:
        """Add a message's rows to its version's. False: it must wait. Raises Rejected."""
        record = read_record(message.value, self.model, self._max_bytes)
        named = record.get("version")
        try:
            version = self._names[named]
        except (KeyError, TypeError):
            version = self._find(named, message.milliseconds / 1000)
        if version is Standing.PENDING:
            return False
        if isinstance(version, Standing):
            self.unwatched[str(named)] = self.unwatched.get(str(named), 0) + 1
            return True
        name = record.get("id")
        if name is not None and (type(name) is not str or name in self._recent):
            if type(name) is str:
                raise Rejected(Reason.DUPLICATE, f"the id {name[:80]!r} was there before")
            raise Rejected(Reason.NOT_A_RECORD, "its id is no string")
        batch = batches.get(version)
        if batch is None:
            batch = batches[version] = _Batch(self._readers[version])
        watcher = self.watchers[version]
        try:
            answers = watcher.read_outputs(record)
            rows = watcher.read_inputs(record, batch.reader, answers)
        except Rejected as error:
            if watcher.rows == 0 and not batch.times:
                self.misfits[version] = error.detail
            raise
        if answers is not None:
            batch.answers.append(answers if len(answers) else np.full((rows, answers.shape[1]), np.nan))
            batch.requests.append((name or "", rows))
        if name is not None:
            self._recent.add(name)
        time = self._when(record.get("ts"), message.milliseconds)
        if rows == 1:
            batch.times.append(time)
            batch.offsets.append(message.offset)
        else:
            batch.times += [time] * rows
            batch.offsets += [message.offset] * rows
        return True

    def _find(self, named: Any, made: float) -> str | Standing:
        if type(named) is int:  # Others than our model server may write a number.
            named = str(named)
        if named is not None and type(named) is not str:
            raise Rejected(Reason.NOT_A_RECORD, "its version is no string")
        name, found = self._versions.find(named, made)
        if found is Standing.UNKNOWN:
            raise Rejected(Reason.UNKNOWN_VERSION, f"there is no version {name[:80]!r} of the model {self.model!r}")
        if isinstance(found, Standing):
            if found is Standing.UNWATCHED:
                self._names[named] = found
            else:
                self._pending = named, made
            return found
        if name not in self._readers:
            if name not in self.watchers:
                self.watchers[name] = Watcher(found)
            self._readers[name] = RowReader(found.schema, is_plain=self.watchers[name].is_plain)
        self._names[named] = name
        return name

    def _when(self, text: Any, milliseconds: int) -> float:
        """A record's time, which is never before that of the one before it."""
        self._time = max(self._time, time_of(text, milliseconds))
        return self._time

    def _score(self, version: str, batch: _Batch, outcome: Outcome) -> None:
        rows = batch.reader.take()
        watcher = self.watchers[version]
        before = watcher.rows
        if before == 0:
            self.misfits.pop(version, None)
        answers = np.concatenate(batch.answers) if batch.answers else None
        for detector, place, alarm in watcher.score(rows, np.array(batch.times), answers, batch.requests):
            outcome.alarms.append(_of_stream(version, detector, alarm, batch.offsets[place], batch.times[place]))

    def state(self) -> bytes:
        """Everything, with the offset that it belongs to."""
        document = {
            "model": self.model,
            "offset": self.offset,
            "labels_offset": self.labels_offset,
            "time": self._time,
            "dead": self.dead,
            "unwatched": self.unwatched,
            "alarms": [asdict(alarm) for alarm in self.alarms],
            "versions": {
                name: {"sha256": watcher.sha256, "rows": watcher.rows, "failed": watcher.failed}
                for name, watcher in self.watchers.items()
            },
        }
        arrays: Arrays = {"recent": self._recent.state()}
        for name, watcher in self.watchers.items():
            arrays |= {f"{name}/{key}": values for key, values in watcher.state().items()}
        return pack(document, arrays)

    def digest(self) -> str:
        """SHA-256 of the state."""
        return hashlib.sha256(self.state()).hexdigest()

    @staticmethod
    def offset_of(packed: bytes) -> int:
        """Where a state goes on. Raises ValueError."""
        offset = unpack(packed)[0].get("offset")
        if not isinstance(offset, int):
            raise ValueError("the state has no offset")
        return offset

    def restore(self, packed: bytes) -> None:
        """Go on from `state()`. A version's state that no longer fits its artefact is left, which `notes` tells.

        Raises ValueError where it is no state of this model, and NotYet.
        """
        document, arrays = unpack(packed)
        if document.get("model") != self.model:
            raise ValueError(f"the state is of the model {document.get('model')!r}, not of {self.model!r}")
        if any(self._versions.find(version)[1] is Standing.PENDING for version in document["versions"]):
            raise NotYet
        self.offset, self._time = document["offset"], document["time"]
        self.labels_offset = document["labels_offset"]
        self.dead, self.unwatched = document["dead"], document["unwatched"]
        self.alarms = deque((StreamAlarm(**alarm) for alarm in document["alarms"]), KEPT_ALARMS)
        self._recent.restore(arrays["recent"])
        for version, kept in document["versions"].items():
            _, found = self._versions.find(version)
            if isinstance(found, Standing):
                continue
            if found.sha256 != kept["sha256"]:
                self.notes.append(f"version {version} has another artefact than before: it begins anew")
                continue
            watcher = Watcher(found)
            prefix = f"{version}/"
            own = {name.removeprefix(prefix): item for name, item in arrays.items() if name.startswith(prefix)}
            try:
                anew = watcher.restore(kept["rows"], kept["failed"], own)
            except (KeyError, ValueError) as error:
                self.notes.append(f"version {version}: its state can't be taken up, it begins anew: {error}")
                continue
            self.notes += [
                f"version {version}: the detector {name} can't restart exactly: it begins anew" for name in anew
            ]
            self.watchers[version] = watcher


def _of_stream(version: str, detector: str, alarm: Alarm, offset: int, time: float) -> StreamAlarm:
    statistic, threshold = float(alarm.statistic), float(alarm.threshold)
    return StreamAlarm(version, detector, alarm.feature, alarm.row, statistic, threshold, offset, time)
