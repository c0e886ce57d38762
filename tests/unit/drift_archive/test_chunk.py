# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Messages to Parquet and back: what a chunk's files hold, what is refused, columns of any values."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops_runtime.contracts.settings import SettingsError
from mlops_runtime.drift.archive.catalogue import archived_models
from mlops_runtime.drift.archive.chunk import LABELS, RECORDS, File, Message, files_of
from mlops_runtime.drift.archive.columns import column, concatenate, values_of
from mlops_runtime.drift.archive.settings import duration, read_settings

MORNING = datetime(2026, 11, 24, 5, 19, 31, tzinfo=UTC)
MS = int(MORNING.timestamp() * 1000)


def message(value: Any, offset: int = 5, time: int = MS) -> Message:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Message(offset, b"key", body, time)


def rows(file: File) -> list[dict[str, Any]]:
    table = pq.read_table(io.BytesIO(file.body))
    names = table.column_names
    columns = [values_of(table.schema.field(name), table[name]) for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def one(value: Any) -> list[dict[str, Any]]:
    files, refused = files_of(RECORDS, 3, [message(value)])
    assert not refused
    return rows(files[0])


def test_a_row_for_each_row_of_the_request() -> None:
    found = one({"id": "i", "version": "2", "ts": "2026-11-24T06:00:00Z", "names": ["a"], "X": [[1, "x"], [2, None]],
                 "Y": [[0.1], [0.9]], "embedding": [[1, 2], [3, 4]]})  # fmt: skip
    about = {"id": "i", "version": "2", "ts": datetime(2026, 11, 24, 6, tzinfo=UTC), "partition": 3, "offset": 5}
    assert found == [
        {**about, "row": 0, "x.a": 1.0, "x.1": "x", "y.0": 0.1, "embedding": [1, 2]},
        {**about, "row": 1, "x.a": 2.0, "x.1": None, "y.0": 0.9, "embedding": [3, 4]},
    ]


def test_the_reference_s_record_has_its_key_and_the_broker_s_time() -> None:
    (row,) = one({"X": [[1.5]], "Y": [2]})
    assert (row["id"], row["ts"], row["version"], row["x.0"], row["y.0"]) == ("key", MORNING, "", 1.5, 2.0)


def test_what_has_no_rows_is_kept_as_it_is() -> None:
    payload = {"content_type": "text/plain", "data": "x", "sha256": "00"}
    (row,) = one({"id": "i", "payload": payload, "Y": {"class": 1}, "embedding": [[1.0]]})
    assert (row["payload"], row["Y"], row["embedding"]) == (payload, {"class": 1}, [[1.0]])


def test_a_file_for_each_version_and_day_known_by_its_hash() -> None:
    day = 86_400_000
    messages = [
        message({"X": [[1]], "version": version}, offset, MS + days * day)
        for offset, (version, days) in enumerate([("1", 0), ("2", 0), ("1", 1), ("1", 0), ("../x", 0), ("..", 0)])
    ]
    files, _ = files_of(RECORDS, 0, messages)
    assert [(file.path.rpartition("/")[0], file.rows) for file in files] == [
        ("records/.._x/2026-11-24", 1),
        ("records/1/2026-11-24", 2),
        ("records/1/2026-11-25", 1),
        ("records/2/2026-11-24", 1),
        ("records/unknown/2026-11-24", 1),
    ]
    for file in files:
        assert file.path.endswith(f"/{hashlib.sha256(file.body).hexdigest()}.parquet")
    assert files_of(RECORDS, 0, messages)[0] == files


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "unexpected end"),
        (b"[1]", "no object"),
        ({"schema": 2, "X": [[1]]}, "schema 2"),
        ({"schema": "1", "X": [[1]]}, "schema '1'"),
        ({"Y": [1]}, "neither X nor payload"),
        ({"X": [1]}, "X is no list of rows"),
        ({"X": [[1]], "names": "a"}, "names is no list"),
    ],
)
def test_what_cannot_be_read_is_named(value: Any, reason: str) -> None:
    files, refused = files_of(RECORDS, 0, [message(value, 1), message({"X": [[1]]}, 2)])
    assert [file.rows for file in files] == [1]
    assert [one.offset for one in refused] == [1] and reason in refused[0].reason


def test_labels() -> None:
    messages = [message(value) for value in ({"id": "a", "y": 1}, {"id": "b", "y": [0, 1]}, {"id": "c"}, {"y": 1})]
    (file,), refused = files_of(LABELS, 0, messages)
    assert file.path.startswith("labels/2026-11-24/") and len(refused) == 1
    assert [(row["id"], row["label"]) for row in rows(file)] == [("a", 1), ("b", [0, 1]), ("key", 1)]


@pytest.mark.parametrize("time", [-1, 0, 2**62])
def test_a_clock_that_jumped_is_no_reason_to_stop(time: int) -> None:
    files, refused = files_of(RECORDS, 0, [message({"X": [[1]]}, 1, time)])
    assert len(files) == 1 and not refused


values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
anything = values | st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=2)
columns = (
    st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False))
    | st.lists(st.none() | st.text())
    | st.lists(anything)
)


@given(columns)
def test_a_column_gives_back_what_it_was_given(given_values: list[Any]) -> None:
    field, array = column("c", given_values)
    found = values_of(field, array)
    assert found == given_values
    assert [isinstance(value, bool) for value in found] == [isinstance(value, bool) for value in given_values]


@given(st.lists(columns, min_size=1, max_size=4))
def test_so_do_columns_below_each_other(parts: list[list[Any]]) -> None:
    tables = []
    for part in parts:
        field, array = column("c", part)
        tables.append(pa.Table.from_arrays([array], schema=pa.schema([field])))
    together = concatenate(tables)
    assert values_of(together.schema.field("c"), together["c"]) == [value for part in parts for value in part]


# Settings and declarations


@pytest.mark.parametrize(
    ("text", "span"), [("12h", timedelta(hours=12)), ("30d", timedelta(days=30)), ("8w", timedelta(days=56))]
)
def test_spans_of_time(text: str, span: timedelta) -> None:
    assert duration(text) == span


@pytest.mark.parametrize("text", ["", "30", "d", "0d", "-1d", "30 days", "1.5d", "9999999d"])
def test_no_spans_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="no span of time"):
        duration(text)


def test_settings() -> None:
    env = {"MLOPS_BROKER": "b:1", "MLFLOW_TRACKING_URI": "http://m"}
    assert read_settings(env).retention is None
    assert read_settings({**env, "MLOPS_ARCHIVE_RETENTION": "2y"}).retention == timedelta(days=730)
    for name, value in (("MLFLOW_TRACKING_URI", ""), ("MLOPS_ARCHIVE_RETENTION", "2"), ("MLOPS_ARCHIVE_SECONDS", "x")):
        with pytest.raises(SettingsError, match=name):
            read_settings({**env, name: value})


class Registry:
    def __init__(self, **specs: Any) -> None:
        self._specs = specs

    def registered_models(self) -> Any:
        for name, spec in self._specs.items():
            text = spec if isinstance(spec, str) else json.dumps(spec)
            yield {"name": name, "tags": [{"key": "mlops.spec", "value": text}]}
        yield {"name": "untagged"}


def test_whose_stream_is_kept_and_how_long(caplog: pytest.LogCaptureFixture) -> None:
    month = timedelta(days=30)
    registry = Registry(
        said={"drift": {"archive": {"retention": "8w"}}},
        default={"drift": {"archive": {}}},
        wrong={"drift": {"archive": {"retention": "soon"}}},
        off={"drift": {"detectors": ["ewma"]}},
        none={},
        broken="{",
        **{"a/b": {"drift": {"archive": {}}}},
    )
    found = archived_models(registry, month)  # type: ignore[arg-type]
    assert found == {"said": timedelta(days=56), "default": month, "wrong": None}
    assert "'a/b' isn't kept" in caplog.text and "kept for ever" in caplog.text and "is no JSON" in caplog.text
