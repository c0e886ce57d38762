# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Columns of values that may be numbers, strings, null or anything that JSON can say, as Arrow's.

A column is float64 where all its values are numbers, string where all are strings, and else JSON in a string column,
which its field's metadata says. What is read is what was written, but that whole numbers come back as floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson
import pyarrow as pa

_JSON: Final = {b"encoding": b"json"}


def column(name: str, values: Sequence[Any]) -> tuple[pa.Field, pa.Array]:
    """A column of the narrowest of the three types."""
    kinds = {type(value) for value in values}
    kinds.discard(type(None))
    if kinds <= {int, float} and all(abs(value) < 2**53 for value in values if type(value) is int):
        return pa.field(name, pa.float64()), pa.array(map(_float, values), pa.float64())
    if kinds == {str}:
        return pa.field(name, pa.string()), pa.array(values, pa.string())
    return _json_column(name, values)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _json_column(name: str, values: Sequence[Any]) -> tuple[pa.Field, pa.Array]:
    texts = [None if value is None else orjson.dumps(value).decode() for value in values]
    return pa.field(name, pa.string(), metadata=_JSON), pa.array(texts, pa.string())


def is_json(field: pa.Field) -> bool:
    return bool((field.metadata or {}).get(b"encoding") == b"json")


def values_of(field: pa.Field, array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """A column's values as Python's."""
    values: list[Any] = array.to_pylist()
    if is_json(field):
        return [None if value is None else orjson.loads(value) for value in values]
    return values


def concatenate(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables below each other; a column that isn't in all is null there, one of different types becomes JSON."""
    fields: dict[str, pa.Field] = {}
    mixed: set[str] = set()
    for table in tables:
        for field in table.schema:
            known = fields.setdefault(field.name, field)
            if (known.type, is_json(known)) != (field.type, is_json(field)):
                mixed.add(field.name)
    return pa.concat_tables([_widened(table, mixed) for table in tables], promote_options="default")


def _widened(table: pa.Table, mixed: set[str]) -> pa.Table:
    table = table.replace_schema_metadata(None)
    for place, field in enumerate(table.schema):
        if field.name in mixed and not is_json(field):
            table = table.set_column(place, *_json_column(field.name, values_of(field, table.column(place))))
    return table
