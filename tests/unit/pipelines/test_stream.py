# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The archive's rows as rows to learn from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from mlops_runtime.drift.archive.columns import column
from mlops_runtime.pipelines.stream import rows_of

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """As the archive's reader gives it."""
    names = dict.fromkeys(name for row in rows for name in row if name not in ("ts", "row"))
    fields, arrays = zip(*(column(name, [row.get(name) for row in rows]) for name in names), strict=True)
    found = pa.Table.from_arrays(list(arrays), schema=pa.schema(list(fields)))
    found = found.append_column("ts", pa.array([row["ts"] for row in rows], pa.timestamp("us", "UTC")))
    return found.append_column("row", pa.array([row["row"] for row in rows], pa.int32()))


def row(id: str, label: Any, minute: int = 0, number: int = 0, **features: Any) -> dict[str, Any]:
    values = {f"x.{name.lstrip('_')}": value for name, value in features.items()}
    return {"id": id, "ts": NOON + timedelta(minutes=minute), "row": number, "label": label, **values}


def test_rows_come_by_time_under_their_requests_names() -> None:
    found = rows_of(
        table([row("b", 1.0, 5, a=1, b="red"), row("a", 0.0, 1, a=2, b="blue"), row("b", 0.0, 5, 1, a=3, b=None)]),
        ["b", "a"],
        "y",
    )
    assert list(found.frame.index) == ["a/0", "b/0", "b/1"]
    assert found.frame["a"].tolist() == [2, 1, 3] and found.frame["b"].tolist()[:2] == ["blue", "red"]
    assert list(found.frame.columns) == ["b", "a", "y"]
    assert (found.archived, found.unlabelled, found.unfit) == (3, 0, 0)


def test_a_row_without_a_label_is_counted_and_one_that_does_not_fit_too() -> None:
    found = rows_of(
        table(
            [
                row("a", None, a=1, b=1),
                row("b", [1.0], a=1, b=1),
                row("c", [1.0, 0.0], a=1, b=1),
                row("d", 1.0, other=1),
                row("", 1.0, a=1, b=1),
            ]
        ),
        ["a", "b"],
        "y",
    )
    assert found.frame["y"].tolist() == [1.0]
    assert (found.archived, found.unlabelled, found.unfit) == (5, 1, 3)


def test_a_request_without_names_has_its_columns_in_order() -> None:
    found = rows_of(table([row("a", 1.0, _0=7, _1=8), row("b", 1.0, _0=7, _1=8, _2=9)]), ["x", "y"], "z")
    assert found.frame[["x", "y"]].to_numpy().tolist() == [[7, 8]] and found.unfit == 1


def test_a_request_that_was_archived_twice_is_one() -> None:
    found = rows_of(table([row("a", 1.0, a=1, b=1), row("a", 1.0, a=1, b=1)]), ["a", "b"], "y")
    assert len(found.frame) == 1


def test_an_archive_with_nothing_in_it() -> None:
    empty = pa.table({"id": pa.array([], pa.string()), "label": pa.array([], pa.float64())})
    found = rows_of(empty, ["a"], "y")
    assert len(found.frame) == 0 and list(found.frame.columns) == ["a", "y"]
