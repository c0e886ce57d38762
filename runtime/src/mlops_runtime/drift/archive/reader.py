# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The archive read back: a model's predictions of a span of time with their labels. What a retraining begins with.

from mlops_runtime.contracts.mlflow import Mlflow
from mlops_runtime.contracts.settings import Tracking
from mlops_runtime.drift.archive.reader import read
from mlops_runtime.drift.archive.store import Store

table = read(Store(Mlflow(Tracking(uri, username, password))), "phishing", since, until)
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops_runtime.contracts.mlflow import MlflowError
from mlops_runtime.drift.archive.chunk import LABELS, RECORDS
from mlops_runtime.drift.archive.columns import column, concatenate, values_of
from mlops_runtime.drift.archive.store import Store

_DAY = timedelta(days=1)


class DamagedFile(Exception):
    """A file isn't what its manifest says: path, and both hashes."""


def read(store: Store, model: str, since: datetime, until: datetime, version: str | None = None) -> pa.Table:
    """Rows whose records were made from `since` up to `until`, in the order of their partitions' offsets.

    Columns: id, version, ts, row (within its request), partition, offset; `x.<name>` for each feature and `y.<number>`
    for each value of the answer, `Y` and `payload` for what has no rows; embedding; and label, null where none came
    yet. A request's label is one value for all its rows, or one for each; of several the latest counts. Labels are
    taken whenever they came. Raises `DamagedFile`, and `MlflowError`.
    """
    since, until = since.astimezone(UTC), until.astimezone(UTC)
    tables = []
    for manifest in store.manifests(model, RECORDS, (since - _DAY).date(), (until + _DAY).date()):
        for table in _tables(store, model, manifest, since, until):
            kept = pc.and_(pc.greater_equal(table["ts"], pa.scalar(since)), pc.less(table["ts"], pa.scalar(until)))
            if version is not None:
                kept = pc.and_(kept, pc.equal(table["version"], version))
            tables.append(table.filter(kept))
    if not tables:
        return pa.table({"id": pa.array([], pa.string()), "label": pa.array([], pa.float64())})
    rows = concatenate(tables).sort_by([("partition", "ascending"), ("offset", "ascending"), ("row", "ascending")])
    return _with_labels(rows, labels(store, model, since, set(rows["id"].to_pylist())))


def labels(store: Store, model: str, since: datetime, ids: set[str]) -> Mapping[str, Any]:
    """The latest labels of these requests that came after `since`."""
    found: dict[str, tuple[datetime, Any]] = {}
    for manifest in store.manifests(model, LABELS, (since - _DAY).date()):
        for table in _tables(store, model, manifest):
            columns = [values_of(table.schema.field(name), table[name]) for name in ("id", "ts", "label")]
            for id, when, label in zip(*columns, strict=True):
                if id in ids and (id not in found or when >= found[id][0]):
                    found[id] = when, label
    return {id: label for id, (_, label) in found.items()}


def _tables(
    store: Store, model: str, manifest: Mapping[str, Any], since: datetime | None = None, until: datetime | None = None
) -> Iterator[pa.Table]:
    for entry in manifest["files"]:
        if since and until and (datetime.fromisoformat(entry["until"]) < since or _begins(entry) >= until):
            continue
        try:
            body = store.get(model, entry["path"])
        except MlflowError as error:
            if error.status == 404:
                continue  # its time was over
            raise
        sha256 = hashlib.sha256(body).hexdigest()
        if sha256 != entry["sha256"]:
            raise DamagedFile(f"{model}: {entry['path']} has the hash {sha256}, its manifest says {entry['sha256']}")
        yield pq.read_table(io.BytesIO(body))


def _begins(entry: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["since"])


def _with_labels(rows: pa.Table, found: Mapping[str, Any]) -> pa.Table:
    counts: dict[tuple[int, int], int] = {}
    places = list(zip(rows["partition"].to_pylist(), rows["offset"].to_pylist(), strict=True))
    for place in places:
        counts[place] = counts.get(place, 0) + 1
    values = []
    for id, row, place in zip(rows["id"].to_pylist(), rows["row"].to_pylist(), places, strict=True):
        label = found.get(id)
        # With a span's edge in a request none of its rows is missing: all have the record's time.
        if isinstance(label, list) and len(label) == counts[place] > 1:
            label = label[row]
        values.append(label)
    field, array = column("label", values)
    return rows.append_column(field, array)
