# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The archived prediction stream as rows to learn from: those whose labels have arrived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from mlops_runtime.drift.archive.columns import values_of
from mlops_runtime.drift.archive.reader import DamagedFile, read
from mlops_runtime.drift.archive.store import Store
from mlops_runtime.pipelines.errors import TamperedDataset
from mlops_runtime.pipelines.rows import INDEX, request_row


@dataclass(frozen=True, eq=False)
class Stream:
    """`frame`: features and target, the oldest row first. The counts are of rows."""

    frame: pd.DataFrame
    archived: int
    unlabelled: int
    unfit: int
    """Without the model's features, or with labels that don't go with the rows."""


def labelled(
    store: Store, model: str, since: datetime, until: datetime, features: Sequence[str], target: str
) -> Stream:
    """Rows that were asked about from `since` up to `until`, whichever version answered; labels whenever they came.

    A request without names counts its columns as `features` does. Raises TamperedDataset, MlflowError.
    """
    try:
        table = read(store, model, since, until)
    except DamagedFile as error:
        raise TamperedDataset(f"the archived stream: {error}") from error
    return rows_of(table, features, target)


def rows_of(table: pa.Table, features: Sequence[str], target: str) -> Stream:
    """As `labelled`, of what the archive's reader gave."""
    columns = {name: values_of(table.schema.field(name), table[name]) for name in table.schema.names}
    if not len(table) or "row" not in columns:
        return Stream(_frame([], features, target), 0, 0, 0)
    rows = []
    unlabelled = unfit = 0
    empty = [None] * len(table)
    named = [columns.get(f"x.{name}", empty) for name in features]
    counted = [columns.get(f"x.{place}", empty) for place in range(len(features))]
    beyond = columns.get(f"x.{len(features)}", empty)
    for place in range(len(table)):
        label = _label(columns["label"][place])
        values = [column[place] for column in named]
        if all(value is None for value in values) and beyond[place] is None:
            values = [column[place] for column in counted]
        if label is None:
            unlabelled += 1
        elif isinstance(label, list | dict) or all(value is None for value in values) or not columns["id"][place]:
            unfit += 1
        else:
            id = request_row(columns["id"][place], columns["row"][place])
            rows.append((columns["ts"][place], id, [*values, label]))
    rows.sort(key=lambda row: row[:2])
    return Stream(_frame(rows, features, target), len(table), unlabelled, unfit)


def _frame(rows: Sequence[tuple[Any, str, list[Any]]], features: Sequence[str], target: str) -> pd.DataFrame:
    index = pd.Index([id for _, id, _ in rows], name=INDEX, dtype=object)
    frame = pd.DataFrame([values for *_, values in rows], index=index, columns=[*features, target])
    # A request that was archived twice, or an id that a client used again: the first is meant.
    return frame[~frame.index.duplicated()]


def _label(value: Any) -> Any:
    """A feedback's truth may come as a list of one."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value
