# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The input signature that MLflow stored with a model, and requests held against it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_NUMPY: dict[str, Any] = {
    "boolean": np.bool_,
    "integer": np.int32,
    "long": np.int64,
    "float": np.float32,
    "double": np.float64,
    "string": np.object_,
    "datetime": "datetime64[ns]",
}


class InputError(ValueError):
    """A request that the model can't take; the message is for the client."""


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    required: bool = True


@dataclass(frozen=True)
class Columns:
    """A table with named or numbered columns."""

    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def dtype(self) -> Any:
        """numpy's type of the whole table; object where the columns' types differ."""
        kinds = {column.type for column in self.columns}
        return _NUMPY[kinds.pop()] if len(kinds) == 1 else np.object_

    def check(self, features: Any, names: list[str]) -> Array:
        """The rows in the signature's order and types. Raises InputError."""
        rows = _array(features)
        wanted = len(self.columns)
        if rows.ndim != 2:
            raise InputError(
                f"the model takes rows of {wanted} columns: an array of 2 dimensions, not {rows.ndim} "
                f"(shape {list(rows.shape)})"
            )
        if names:
            rows = self._ordered(rows, [str(name) for name in names])
        if rows.shape[1] != wanted:
            raise InputError(f"the model takes {wanted} columns ({_listed(self.names)}), not {rows.shape[1]}")
        if len(rows) == 0:
            raise InputError("there are no rows")
        dtype = self.dtype
        if dtype is not np.object_:
            if np.dtype(dtype) == rows.dtype:
                return rows
            if rows.dtype.kind in "iuf" and dtype is np.float64:
                return np.asarray(rows, dtype=np.float64)
            return _cast(rows, self.columns[0].type, "the table")
        table = np.empty(rows.shape, dtype=object)
        for position, column in enumerate(self.columns):
            table[:, position] = _cast(rows[:, position], column.type, f"column {column.name or position}")
        return table

    def _ordered(self, features: Array, names: list[str]) -> Array:
        if len(names) != features.shape[1]:
            raise InputError(f"data.names has {len(names)} names for {features.shape[1]} columns")
        known = self.names
        if not all(known) or names == known:
            return features
        if len(set(names)) != len(names):
            raise InputError("data.names names a column twice")
        missing, unknown = [n for n in known if n not in names], [n for n in names if n not in known]
        if missing or unknown:
            problems = [f"missing: {_listed(missing)}"] if missing else []
            problems += [f"unknown: {_listed(unknown)}"] if unknown else []
            raise InputError(f"data.names doesn't fit the model's columns; {'; '.join(problems)}")
        return features[:, [names.index(name) for name in known]]


@dataclass(frozen=True)
class Tensor:
    """An array of one type and a shape in which -1 is any length."""

    dtype: str
    shape: tuple[int, ...]

    def check(self, features: Any, _names: list[str]) -> Array:
        array = _array(features)
        fits = len(array.shape) == len(self.shape) and all(
            wanted in (-1, length) for wanted, length in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            raise InputError(f"the model takes an array of shape {list(self.shape)}, not {list(array.shape)}")
        if array.size == 0:
            raise InputError("there are no rows")
        wanted = np.dtype(self.dtype)
        if array.dtype == wanted:
            return array
        name = {"f": "double", "i": "long", "u": "long", "b": "boolean"}.get(wanted.kind, "string")
        return _cast(array, name, "the array").astype(wanted)


def signature_of(text: str | None) -> Columns | Tensor | None:
    """The inputs of an MLmodel's signature; None where there is none that can be checked."""
    specs = json.loads(text) if text else []
    if not specs:
        return None
    if len(specs) == 1 and specs[0].get("type") == "tensor":
        tensor = specs[0]["tensor-spec"]
        return Tensor(tensor["dtype"], tuple(tensor["shape"]))
    if all(str(spec.get("type")) in _NUMPY for spec in specs):
        return Columns(
            tuple(Column(str(spec.get("name", "")), spec["type"], spec.get("required", True)) for spec in specs)
        )
    return None


def _array(features: Any) -> Array:
    if not isinstance(features, np.ndarray):
        raise InputError("the model takes data.ndarray, data.tensor or data.tftensor")
    return features


def _cast(values: Array, kind: str, where: str) -> Array:
    """Values as a type of MLflow's, if nothing is lost."""
    if kind == "string":
        strings = values.astype(object)
        if bad := next((value for value in strings.flat if not isinstance(value, str | None)), None):
            raise InputError(f"{where} takes strings, not {bad!r}")
        return strings
    try:
        if kind == "datetime":
            return values.astype(str).astype("datetime64[ns]")
        if values.dtype.kind in "OU":
            wrong = (value for value in values.astype(object).flat if not _is_number(value, values.dtype.kind == "U"))
            if (bad := next(wrong, _NONE)) is not _NONE:
                raise InputError(f"{where} takes numbers ({kind}), not {bad!r}")
            numbers = values.astype(np.float64)
            if kind in ("integer", "long") and values.dtype.kind == "O" and all(type(v) is int for v in values.flat):
                numbers = values.astype(np.int64)
        else:
            numbers = values
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{where} takes {kind}: {error}") from error
    if kind in ("float", "double"):
        return numbers.astype(_NUMPY[kind])
    if numbers.dtype.kind == "c" or (numbers.dtype.kind == "f" and not np.isfinite(numbers).all()):
        raise InputError(f"{where} takes {kind}, and a value is missing or infinite")
    if kind == "boolean":
        if not np.isin(numbers, (0, 1)).all():
            raise InputError(f"{where} takes true and false")
        return numbers.astype(np.bool_)
    limits = np.iinfo(_NUMPY[kind])
    if numbers.dtype.kind == "f" and (numbers != np.floor(numbers)).any():
        raise InputError(f"{where} takes whole numbers ({kind}), not {numbers[numbers != np.floor(numbers)].flat[0]}")
    if (numbers < limits.min).any() or (numbers > limits.max).any():
        raise InputError(f"{where} takes {kind}, and a value is out of its range")
    return numbers.astype(_NUMPY[kind])


_NONE = object()


def _is_number(value: Any, from_text: bool) -> bool:
    """Whether a cell is a number. Seldon's wrapper makes texts of a table's numbers as soon as one cell is a text."""
    if value is None:
        return True
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return from_text
    return isinstance(value, int | float | np.number)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
