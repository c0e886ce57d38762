# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A model's features as its artefact knows them, and the way of a record's rows to numbers.

A row becomes float64: a number as it is, a category as its index among the reference's, one that the reference lacks
as the index after the last, null as NaN. What can't be a row of the model is rejected with a reason.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from mlops_runtime.drift.protocol import Feature, FloatArray

MAX_FEATURES = 10_000
MAX_CATEGORIES = 10_000
_REMEMBERED_ORDERS = 16


class Reason(StrEnum):
    """Why a message went to the dead-letter topic; all there are."""

    BAD_JSON = "bad_json"
    NOT_A_RECORD = "not_a_record"
    NEWER_SCHEMA = "newer_schema"
    UNKNOWN_MODEL = "unknown_model"
    UNKNOWN_VERSION = "unknown_version"
    WRONG_SHAPE = "wrong_shape"
    WRONG_NAMES = "wrong_names"
    WRONG_TYPE = "wrong_type"
    WRONG_PAYLOAD = "wrong_payload"
    WRONG_OUTPUT = "wrong_output"
    NON_FINITE = "non_finite"
    TOO_LARGE = "too_large"
    DUPLICATE = "duplicate"
    WRONG_LABEL = "wrong_label"


class Rejected(ValueError):
    """A message that can't be scored."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Column:
    """One feature: what the reference had of it."""

    feature: Feature
    minimum: float = -math.inf
    maximum: float = math.inf
    missing: float = 0.0
    """Share of the reference's rows that lacked it."""

    @property
    def name(self) -> str:
        return self.feature.name

    def to_dict(self) -> dict[str, Any]:
        """As the manifest has it."""
        document: dict[str, Any] = {"name": self.name, "kind": "numeric", "missing": self.missing}
        if self.feature.categories is not None:
            return document | {"kind": "categorical", "categories": list(self.feature.categories)}
        return document | {"minimum": self.minimum, "maximum": self.maximum}

    @classmethod
    def from_dict(cls, document: Any) -> Column:
        """Raises ValueError where the manifest's entry is none."""
        if not isinstance(document, dict) or not isinstance(document.get("name"), str):
            raise ValueError(f"{document!r} is no feature: it has no name")
        name, missing = document["name"], document.get("missing", 0.0)
        if isinstance(missing, bool) or not isinstance(missing, int | float) or not 0 <= missing <= 1:
            raise ValueError(f"feature {name!r}: missing is {missing!r}, not a share from 0 to 1")
        if document.get("kind") == "categorical":
            categories = document.get("categories")
            if not isinstance(categories, list) or not all(isinstance(item, str) for item in categories):
                raise ValueError(f"feature {name!r}: its categories are no list of strings")
            if len(set(categories)) != len(categories) or len(categories) > MAX_CATEGORIES:
                raise ValueError(f"feature {name!r}: a category is there twice, or there are above {MAX_CATEGORIES}")
            return cls(Feature(name, tuple(categories)), missing=float(missing))
        if document.get("kind") != "numeric":
            raise ValueError(f"feature {name!r}: its kind is {document.get('kind')!r}, not numeric or categorical")
        limits = document.get("minimum"), document.get("maximum")
        if not all(isinstance(limit, int | float) and not isinstance(limit, bool) for limit in limits):
            raise ValueError(f"feature {name!r}: minimum and maximum are no numbers")
        return cls(Feature(name), float(limits[0]), float(limits[1]), float(missing))  # type: ignore[arg-type]


class Schema:
    """The features of a model, in their order."""

    def __init__(self, columns: Sequence[Column]) -> None:
        """Raises ValueError naming what is wrong."""
        self.columns = tuple(columns)
        self.features = tuple(column.feature for column in columns)
        self.names = [column.name for column in columns]
        if not 0 < len(columns) <= MAX_FEATURES:
            raise ValueError(f"{len(columns)} features; there must be 1 to {MAX_FEATURES}")
        twice = sorted({name for name in self.names if self.names.count(name) > 1}) if self._repeats() else []
        if twice:
            raise ValueError(f"features that are there twice: {', '.join(twice)}")
        # Bounds for vectors: a category is valid below the number of them.
        self.minimum: FloatArray = np.array(
            [0.0 if column.feature.is_categorical else column.minimum for column in columns]
        )
        self.maximum: FloatArray = np.array(
            [
                column.maximum if column.feature.categories is None else len(column.feature.categories) - 1.0
                for column in columns
            ]
        )

    def _repeats(self) -> bool:
        return len(set(self.names)) < len(self.names)

    def __len__(self) -> int:
        return len(self.columns)

    def mismatch(self, names: Sequence[str]) -> str:
        """What tells a model's names from these; empty where a model of those names can be watched by them."""
        theirs = set(names)
        absent = [name for name in self.names if name not in theirs]
        return f"the model has no {', '.join(absent[:10])}{' …' if len(absent) > 10 else ''}" if absent else ""


class RowReader:
    """Collects the rows of many records into one array. A record that is rejected leaves no trace in it."""

    def __init__(self, schema: Schema, is_plain: bool = True) -> None:
        self._schema = schema
        self._width = len(schema)
        self._buffer = array("d")
        self._codes = [
            (index, {category: float(code) for code, category in enumerate(feature.categories)})
            for index, feature in enumerate(schema.features)
            if feature.categories is not None
        ]
        self._coded = dict(self._codes)
        self._orders: dict[tuple[str, ...], list[int] | None] = {}
        self.width = self._width
        self.names = schema.names
        self.is_plain = is_plain and not self._codes
        """Whether a row of numbers in the schema's order needs no conversion: then `append` takes it."""
        self.append = self._buffer.fromlist
        """Take in one row of `width` numbers. Raises TypeError, and takes nothing, where a value is no number."""

    def add(self, rows: Any, names: Any = None) -> int:
        """Take in a record's `X`, whose columns are `names` (None: the schema's); returns the number of rows.

        Raises Rejected.
        """
        if type(rows) is not list or not rows:
            raise Rejected(Reason.WRONG_SHAPE, "X is no list of rows")
        order = None if names is None or names == self._schema.names else self._order(names)
        width = self._width if order is None else len(names)
        buffer, begun = self._buffer, len(self._buffer)
        try:
            for number, row in enumerate(rows):
                if type(row) is not list or len(row) != width:
                    raise _misshapen(number, row, width)
                if order is not None:
                    row = [row[index] for index in order]
                if self._codes:
                    buffer.fromlist(self._convert(row))
                    continue
                try:
                    buffer.fromlist(row)
                except TypeError:  # A null, or what is no number.
                    buffer.fromlist(self._convert(row))
        except Rejected:
            del buffer[begun:]
            raise
        return len(rows)

    def extend(self, rows: FloatArray) -> int:
        """Take in rows that are numbers already, shape (n, width); returns n. Raises Rejected."""
        if rows.ndim != 2 or rows.shape[1] != self._width or not len(rows):
            raise Rejected(Reason.WRONG_SHAPE, f"rows of shape {list(rows.shape)}, not of {self._width} numbers")
        if np.isinf(rows).any():
            raise Rejected(Reason.NON_FINITE, "a row holds an infinite number")
        self._buffer.frombytes(np.ascontiguousarray(rows, dtype=np.float64).tobytes())
        return len(rows)

    def take(self) -> FloatArray:
        """The rows since the last call, shape (n, features)."""
        rows = np.frombuffer(self._buffer, dtype=np.float64).reshape(-1, self._width)
        self._buffer = array("d")
        self.append = self._buffer.fromlist
        return rows

    def _convert(self, row: list[Any]) -> list[float]:
        converted: list[float] = []
        for index, value in enumerate(row):
            codes = self._coded.get(index)
            if value is None:
                converted.append(math.nan)
            elif codes is None:
                if not isinstance(value, int | float):
                    raise self._mistyped(index, value, "a number")
                converted.append(float(value))
            elif isinstance(value, str):
                converted.append(codes.get(value, float(len(codes))))
            elif isinstance(value, bool | int | float):
                # A category that was a number in training has its text as its name.
                converted.append(codes.get(category_name(value), float(len(codes))))
            else:
                raise self._mistyped(index, value, "a category")
        return converted

    def _mistyped(self, index: int, value: object, wanted: str) -> Rejected:
        kind = {"str": "text", "list": "a list", "dict": "an object"}.get(type(value).__name__, "something else")
        return Rejected(Reason.WRONG_TYPE, f"feature {self._schema.names[index]!r} is {kind}, not {wanted}")

    def _order(self, names: Any) -> list[int] | None:
        if type(names) is not list or not all(type(name) is str for name in names):
            raise Rejected(Reason.WRONG_NAMES, "names is no list of strings")
        key = tuple(names)
        if key in self._orders:
            return self._orders[key]
        place = {name: index for index, name in enumerate(names)}
        absent = [name for name in self._schema.names if name not in place]
        if absent:
            raise Rejected(Reason.WRONG_NAMES, f"there is no {', '.join(absent[:5])}{' …' if len(absent) > 5 else ''}")
        if len(self._orders) >= _REMEMBERED_ORDERS:
            self._orders.clear()
        self._orders[key] = [place[name] for name in self._schema.names]
        return self._orders[key]


def category_name(value: object) -> str:
    """The name of a category that isn't text: true, 3, 2.5; the same whether the number was 3 or 3.0."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _misshapen(number: int, row: object, width: int) -> Rejected:
    if isinstance(row, list):
        return Rejected(Reason.WRONG_SHAPE, f"row {number} of X has {len(row)} values, not {width}")
    return Rejected(Reason.WRONG_SHAPE, f"row {number} of X is no list")
