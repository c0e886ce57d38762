# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What a prediction leaves behind: request and answer as a record, truth as a label. `contracts.prediction_record`."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import getrandbits
from typing import Any, Final

import numpy as np
import orjson

from mlops_runtime.contracts.prediction_record import SCHEMA
from mlops_runtime.serving.payload import Json, array_of_data, features_of_json, features_of_proto
from mlops_runtime.serving.seldon import messages

INLINE_BYTES: Final = 256 * 1024
"""What isn't tabular travels in the record up to this size, and is known by its hash beyond it."""

MESSAGE_BYTES: Final = 1_000_000
"""A message has to stay below: the broker's default limit, less what the protocol adds."""
_ENVELOPE_BYTES: Final = 512

_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
_WHOLE_NUMBERS: Final = range(-(2**63), 2**64)

Array = np.ndarray[Any, Any]


def new_id() -> str:
    """A UUID of version 7: in order of time, and random enough for all replicas. RFC 9562, 5.7."""
    chance = getrandbits(74)  # unique, not secret; Python seeds it anew in each process that is forked
    when = f"{time.time_ns() // 1_000_000:012x}"
    last = f"{chance >> 12 | 1 << 63:016x}"
    return f"{when[:8]}-{when[8:]}-7{chance & 0xFFF:03x}-{last[:4]}-{last[4:]}"


@dataclass(slots=True)
class Sent:
    """A request's features as they came: a class may change those that it was given."""

    table: Array | None = None
    """Rows of numbers, or of objects; as many dimensions as the request's array has."""
    text: str | None = None
    binary: bytes | None = None
    json: bytes | None = None


def capture(features: Any, request: Any = None) -> Sent:
    """`features` as the class is about to get them; a `request` in JSON still has a mixed table's numbers as such."""
    if isinstance(features, np.ndarray):
        if features.dtype.kind == "U" and isinstance(request, dict):
            rows = (request.get("data") or {}).get("ndarray")
            if rows is not None:
                return Sent(table=np.array(rows, dtype=object))
        return Sent(table=features.copy())
    if isinstance(features, str):
        return Sent(text=features)
    if isinstance(features, bytes | bytearray):
        return Sent(binary=bytes(features))
    return Sent(json=orjson.dumps(features, default=_plain, option=_OPTIONS))


def capture_message(request: Any) -> tuple[Sent, list[str]]:
    """Features and names of a message that the class read by itself. Raises what is wrong with the message."""
    if isinstance(request, bytes | bytearray):  # passed through as it came
        return _body(bytes(request)), []
    if isinstance(request, dict):
        features, _, names = features_of_json(request)
    else:
        features, _, names = features_of_proto(request)
    return capture(features, request), names


def _body(body: bytes) -> Sent:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return Sent(binary=body)
    return Sent(json=body)


def fits(key: bytes, value: bytes) -> bool:
    """Whether a message is small enough for the broker."""
    return len(key) + len(value) + _ENVELOPE_BYTES <= MESSAGE_BYTES


def content(sent: Sent, inline: bool = True) -> Json:
    """The record's `X`, or its `payload` where the features are no table. Without `inline`, never more than a hash."""
    if sent.table is not None:
        table = sent.table
        if table.ndim == 1:
            table = table.reshape(1, -1)  # a vector of features is one row
        if table.ndim == 2 and (table.dtype.kind in "iuf" or (rows := _scalars(table)) is not None):
            return {"X": table if table.dtype.kind in "iuf" else rows}
        body = orjson.dumps(sent.table, default=_plain, option=_OPTIONS)
        return {"payload": _payload("application/json", body, orjson.Fragment(body), inline)}
    if sent.text is not None:
        body = sent.text.encode("utf-8", "surrogatepass")
        return {"payload": _payload("text/plain", body, sent.text, inline)}
    if sent.binary is not None:
        data = base64.b64encode(sent.binary).decode() if len(sent.binary) <= INLINE_BYTES else None
        return {"payload": _payload("application/octet-stream", sent.binary, data, inline)}
    body = sent.json or b"null"
    return {"payload": _payload("application/json", body, orjson.Fragment(body), inline)}


def _payload(kind: str, body: bytes, data: Any, inline: bool) -> Json:
    payload = {"content_type": kind, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    return payload | {"data": data} if inline and len(body) <= INLINE_BYTES else payload


def _scalars(table: Array) -> list[list[Any]] | None:
    """The rows of a table whose values are numbers, strings or null; None where others are among them."""
    rows = []
    for row in table.tolist():
        values: list[Any] = []
        for value in row:
            if isinstance(value, bool):
                values.append(int(value))
            elif isinstance(value, int):
                values.append(value if value in _WHOLE_NUMBERS else float(value))
            elif value is None or isinstance(value, str | float):
                values.append(value)
            else:
                return None
        rows.append(values)
    return rows


def prediction(answer: Any, rows: int | None) -> Any:
    """`Y` of an answer, JSON or SeldonMessage: a row for each of the request's `rows`; what has no rows, as it is."""
    if isinstance(answer, dict):
        data = answer.get("data")
        if isinstance(data, dict):
            values = data.get("ndarray")
            return _rows(features_of_json(answer, keep_types=True)[0] if values is None else values, rows)
        for kind in ("jsonData", "strData", "binData"):
            if kind in answer:
                return answer[kind]
    elif isinstance(answer, messages.SeldonMessage):
        kind = answer.WhichOneof("data_oneof")
        if kind == "data":
            return _rows(array_of_data(answer.data, keep_types=True), rows)
        return features_of_proto(answer)[0] if kind in ("strData", "jsonData", "binData") else None
    return answer


def _rows(values: Any, rows: int | None) -> Any:
    """One dimension becomes two: a value for each row, or one row of values."""
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            return values
        return values.reshape(-1, 1) if len(values) == rows else values.reshape(1, -1)
    if isinstance(values, list) and values and not isinstance(values[0], list | tuple | np.ndarray):
        return [[value] for value in values] if len(values) == rows else [values]
    return values


class Writer:
    """Records of one version of a model, as JSON."""

    def __init__(self, model: str, version: str) -> None:
        about = orjson.dumps({"schema": SCHEMA, "model": model, "version": version})
        self._begin = about[:-1] + b","

    def record(
        self, id: str, sent: Sent, names: Sequence[str], answer: Any, embedding: Any = None, inline: bool = True
    ) -> bytes:
        """The record of an answer made now; NaN and infinities become null."""
        body: Json = {"id": id, "ts": datetime.now(UTC), "names": names}
        body |= content(sent, inline)
        x = body.get("X")
        body["Y"] = prediction(answer, None if x is None else len(x))
        if embedding is not None and inline:
            body["embedding"] = embedding
        return self._begin + orjson.dumps(body, default=_plain, option=_OPTIONS)[1:]


def label(id: str, truth: Any) -> bytes | None:
    """A label as JSON from feedback's truth, a SeldonMessage: one value, or one for each row; None without a truth."""
    if truth.WhichOneof("data_oneof") is None:
        return None
    values = features_of_proto(truth, keep_types=True)[0]
    if isinstance(values, np.ndarray):
        if values.size == 0:
            return None
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        values = values.tolist()
        if isinstance(values, list) and len(values) == 1:
            values = values[0]
    return orjson.dumps({"id": id, "y": values}, default=_plain, option=_OPTIONS)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if hasattr(value, "tolist"):  # numpy's that orjson doesn't take: not contiguous, of objects, of strings
        return value.tolist()
    if isinstance(value, int):
        return float(value)
    return str(value)
