# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of one partition to Parquet files: what a chunk is made of."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_runtime.contracts.prediction_record import SCHEMA
from mlops_runtime.drift.archive.columns import column

RECORDS: Final = "records"
LABELS: Final = "labels"
_OWN: Final = frozenset({"schema", "model", "version", "id", "ts", "names", "X", "Y"})


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came. `time`: when it was written, in milliseconds since the epoch."""

    offset: int
    key: bytes
    value: bytes
    time: int

    @property
    def day(self) -> str:
        return _moment(self.time).date().isoformat()


@dataclass(frozen=True, slots=True)
class File:
    """A Parquet file: `path` below its model's directory."""

    path: str
    sha256: str
    rows: int
    body: bytes
    since: datetime
    until: datetime

    def entry(self) -> dict[str, Any]:
        """What its manifest says of it."""
        return {
            "path": self.path,
            "sha256": self.sha256,
            "rows": self.rows,
            "size": len(self.body),
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that is no record or no label: it stays where it is, and isn't archived."""

    offset: int
    reason: str


Row = dict[str, Any]


def files_of(kind: str, partition: int, messages: Sequence[Message]) -> tuple[list[File], list[Unreadable]]:
    """One file for each version and day among the messages."""
    groups: dict[str, list[Row]] = {}
    refused = []
    for message in messages:
        try:
            version, rows = _rows_of_record(message) if kind == RECORDS else ("", _rows_of_label(message))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            refused.append(Unreadable(message.offset, str(error) or type(error).__name__))
            continue
        for row in rows:
            row["partition"], row["offset"] = partition, message.offset
        directory = f"{RECORDS}/{_directory(version)}" if kind == RECORDS else LABELS
        groups.setdefault(f"{directory}/{message.day}", []).extend(rows)
    return [_file(directory, rows) for directory, rows in sorted(groups.items()) if rows], refused


def _directory(version: str) -> str:
    """A version as one part of a path."""
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in version)[:64]
    return safe if safe.strip(".") else "unknown"


def _document(message: Message) -> dict[str, Any]:
    found = orjson.loads(message.value)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def _rows_of_record(message: Message) -> tuple[str, list[Row]]:
    record = _document(message)
    schema = record.get("schema", SCHEMA)
    if type(schema) is not int or schema > SCHEMA:
        raise ValueError(f"schema {schema!r} is none of up to {SCHEMA}")
    if "X" not in record and "payload" not in record:
        raise ValueError("neither X nor payload")
    about: Row = {
        "id": _text(record.get("id")) or message.key.decode("utf-8", "replace"),
        "version": _text(record.get("version")),
        "ts": _time_of(record, message),
    }
    kept = {name: value for name, value in record.items() if name not in _OWN}
    names = record.get("names") or []
    x: Any = record.get("X")
    y: Any = record.get("Y")
    embedding = kept.pop("embedding", None)
    if x is None:
        return about["version"], [{**about, "row": 0, "Y": y, "embedding": embedding, **kept}]
    if not isinstance(x, list) or not all(isinstance(values, list) for values in x):
        raise ValueError("X is no list of rows")
    if not isinstance(names, list):
        raise ValueError("names is no list")
    in_rows = isinstance(y, list) and len(y) == len(x)
    rows = []
    for number, values in enumerate(x):
        row: Row = {**about, "row": number, **kept}
        for place, value in enumerate(values):
            row[f"x.{names[place] if place < len(names) else place}"] = value
        answer = y[number] if in_rows else y
        if isinstance(answer, list):
            row.update({f"y.{place}": value for place, value in enumerate(answer)})
        else:
            row["y.0" if in_rows else "Y"] = answer
        if isinstance(embedding, list) and len(embedding) == len(x):
            row["embedding"] = embedding[number]
        rows.append(row)
    return about["version"], rows


def _rows_of_label(message: Message) -> list[Row]:
    label = _document(message)
    id = _text(label.get("id")) or message.key.decode("utf-8", "replace")
    if not id or "y" not in label:
        raise ValueError("a label needs id and y")
    return [{"id": id, "ts": _time_of(label, message), "label": label["y"]}]


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(max(0, min(milliseconds, 253_402_300_799_000)) / 1000, UTC)


def _time_of(document: dict[str, Any], message: Message) -> datetime:
    """When the record was made; when the message was, where it doesn't say so in a way that can be read."""
    try:
        found = datetime.fromisoformat(document["ts"])
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return _moment(message.time)


_FIXED: Final = {
    "id": pa.string(),
    "version": pa.string(),
    "ts": pa.timestamp("us", "UTC"),
    "row": pa.int32(),
    "partition": pa.int32(),
    "offset": pa.int64(),
}


def _file(directory: str, rows: Sequence[Row]) -> File:
    names = dict.fromkeys(name for row in rows for name in row)
    fields, arrays = [], []
    for name in names:
        values = [row.get(name) for row in rows]
        if name in _FIXED:
            fields.append(pa.field(name, _FIXED[name]))
            arrays.append(pa.array(values, _FIXED[name]))
        else:
            field, array = column(name, values)
            fields.append(field)
            arrays.append(array)
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    body = out.getvalue()
    sha256 = hashlib.sha256(body).hexdigest()
    times = [row["ts"] for row in rows]
    return File(f"{directory}/{sha256}.parquet", sha256, len(rows), body, min(times), max(times))
