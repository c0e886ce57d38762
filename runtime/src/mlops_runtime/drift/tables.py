# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Files of rows as columns by name: CSV, Parquet where pyarrow is there, and numpy's .npz."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


class TableError(ValueError):
    """A file that can't be read as a table; the message says why."""


def read_table(path: Path) -> Mapping[str, Any]:
    """Columns by name, by the file's suffix. Raises TableError."""
    readers = {".csv": _csv, ".parquet": _parquet, ".npz": _npz}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TableError(f"{path.name}: {path.suffix or 'no suffix'} is none of {', '.join(readers)}")
    try:
        return reader(path)
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: {error}") from error


def _csv(path: Path) -> dict[str, list[Any]]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream)
        header = next(reader, [])
        rows = [row for row in reader if row]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise TableError(f"{path.name}, row {number}: {len(row)} values for {len(header)} columns")
    return {name: _values([row[index] for row in rows]) for index, name in enumerate(header)}


def _values(cells: Sequence[str]) -> list[Any]:
    """Numbers where every cell is one, texts otherwise; an empty cell is missing."""
    try:
        return [None if cell.strip() == "" else float(cell) for cell in cells]
    except ValueError:
        return [None if cell.strip() == "" else cell for cell in cells]


def _parquet(path: Path) -> dict[str, list[Any]]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError as error:
        raise TableError(f"{path.name}: pyarrow isn't here, which reads Parquet") from error
    try:
        table = parquet.read_table(path)
    except ArrowInvalid as error:
        raise TableError(f"{path.name}: {error}") from error
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _npz(path: Path) -> dict[str, Any]:
    """One array `rows`, shape (n, d), with `names`; or one array a column."""
    try:
        with np.load(path, allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except ValueError as error:
        raise TableError(f"{path.name}: {str(error).splitlines()[0]}") from error
    rows = arrays.get("rows")
    if rows is None or rows.ndim != 2:
        return arrays
    names = [str(name) for name in arrays.get("names", [f"feature_{index}" for index in range(rows.shape[1])])]
    if len(names) != rows.shape[1]:
        raise TableError(f"{path.name}: {len(names)} names for {rows.shape[1]} columns")
    return {name: rows[:, index] for index, name in enumerate(names)}
