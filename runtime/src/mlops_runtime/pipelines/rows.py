# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Which observation a row is: the index of every frame in here.

<request id>/<row in the request>    of the prediction stream
id:<id>                              of a file with a column of ids
file:<hash of the file>:<row>        of any other file that a user brings: the same file again, the same rows
<hash of the row>-<count>            of a version's own datasets, as they were registered: the second of two equal
                                     rows is another observation than the first
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import pandas as pd

from mlops_runtime.pipelines.errors import UnfitRows

INDEX: Final = "mlops.row"
"""The index's name, and that of its column in a file."""

_NAMELESS: Final = re.compile(r"file:[0-9a-f]{16}:\d+|[0-9a-f]{32}-\d+")


def request_row(request: str, row: int) -> str:
    return f"{request}/{row}"


def request_of(row: str) -> str:
    """What rows of one request have in common; other rows are alone."""
    return row.rpartition("/")[0] or row


def row_hashes(frame: pd.DataFrame) -> list[str]:
    """SHA-256 of each row's values by column name, as 32 digits: equal values are equal whatever the columns' types
    (1, 1.0 and True are one; NaN, NaT and None are one) and order."""
    names = sorted(map(str, frame.columns))
    by_name = {str(name): frame[name].tolist() for name in frame.columns}
    columns = [[_plain(value) for value in by_name[name]] for name in names]
    rows = zip(*columns, strict=True) if columns else iter(())
    return [hashlib.sha256(json.dumps([names, row]).encode()).hexdigest()[:32] for row in rows]


def identified(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame, its rows named by what they hold; one whose rows have names is left as it is."""
    if frame.index.name == INDEX:
        return frame
    seen: Counter[str] = Counter()
    names = []
    for found in row_hashes(frame):
        names.append(f"{found}-{seen[found]}")
        seen[found] += 1
    return frame.set_axis(pd.Index(names, name=INDEX, dtype=object), axis=0)


def from_file(frame: pd.DataFrame, ids: str = "") -> pd.DataFrame:
    """A user's rows, named by the column `ids`, which is taken away, or else by the file and their place in it.

    Raises UnfitRows.
    """
    if not ids:
        found = hashlib.sha256("\n".join(row_hashes(frame)).encode()).hexdigest()[:16]
        names = [f"file:{found}:{place}" for place in range(len(frame))]
        return frame.set_axis(pd.Index(names, name=INDEX, dtype=object), axis=0)
    if ids not in frame.columns:
        raise UnfitRows(f"there is no column {ids}, which is to hold the rows' ids")
    if frame[ids].isna().any() or frame[ids].duplicated().any():
        raise UnfitRows(f"column {ids}: an id is missing, or comes twice")
    names = [f"id:{value}" for value in frame[ids]]
    return frame.drop(columns=ids).set_axis(pd.Index(names, name=INDEX, dtype=object), axis=0)


def unlike(frame: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Without the rows that may be one of `others` under another name.

    Where neither has an id, equal rows may be one observation: as many are left out as `others` holds.
    """
    left = Counter(
        found for name, found in zip(others.index, row_hashes(others), strict=True) if _NAMELESS.fullmatch(str(name))
    )
    kept = []
    for name, found in zip(frame.index, row_hashes(frame), strict=True):
        same = bool(_NAMELESS.fullmatch(str(name))) and left[found] > 0
        left[found] -= same
        kept.append(not same)
    return frame[kept]


def digest(frame: pd.DataFrame) -> str:
    """SHA-256 of which rows are in the frame and what they hold, whatever their order."""
    lines = sorted(f"{name} {found}\n" for name, found in zip(frame.index, row_hashes(frame), strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def together(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """One below the other; an observation that comes again is taken once."""
    joined = pd.concat([identified(frame) for frame in frames])
    joined.index.name = INDEX
    return joined[~joined.index.duplicated()]


def without(frame: pd.DataFrame, *others: pd.DataFrame) -> pd.DataFrame:
    """The observations that are in none of the others."""
    for other in others:
        frame = frame[~frame.index.isin(other.index)]
    return frame


def aligned(frame: pd.DataFrame, like: pd.DataFrame, what: str) -> pd.DataFrame:
    """The columns of `like` in its order and, where nothing is lost by it, of its types. Raises UnfitRows."""
    absent = [str(name) for name in like.columns if name not in frame.columns]
    if absent:
        raise UnfitRows(f"{what}: there is no column {', '.join(absent)}; it has {', '.join(map(str, frame.columns))}")
    columns = {name: _as(frame[name], like[name], f"{what}: column {name}") for name in like.columns}
    return pd.DataFrame(columns, index=frame.index)


def _as(values: pd.Series, like: pd.Series, what: str) -> pd.Series:
    wanted = like.dtype
    if values.dtype == wanted or not len(values):
        return values.astype(wanted)
    numeric = pd.api.types.is_numeric_dtype(wanted)
    try:
        if not numeric:
            return values.astype(wanted)
        numbers = pd.to_numeric(values)
        if pd.api.types.is_float_dtype(wanted):
            return numbers.astype(wanted)
        whole = numbers.astype(wanted)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnfitRows(f"{what} can't be {wanted}: {error}") from error
    if not (whole.astype("float64") == numbers.astype("float64")).all():
        raise UnfitRows(f"{what} can't be {wanted}: it has other values than whole ones of that type")
    return whole


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        number = float(value) if abs(value) <= 2**53 else value
        return None if isinstance(number, float) and math.isnan(number) else number
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    return str(value)
