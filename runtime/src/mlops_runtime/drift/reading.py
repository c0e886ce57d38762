# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""A message as a prediction record, or the reason why it is none; and the time that it counts for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import orjson

from mlops_runtime.contracts.prediction_record import SCHEMA
from mlops_runtime.drift.schema import Reason, Rejected

MAX_BYTES = 1_000_000
"""Of a message: what a broker takes by default, less its own part."""
CLOCK_SECONDS = 86_400.0
"""A record whose own time is further than this from its message's has a wrong clock; the message's time is taken."""


def read_record(value: bytes | None, model: str, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """A record of the model; of any where `model` is empty. Raises Rejected."""
    record = _read(value, max_bytes)
    schema = record.get("schema", SCHEMA)
    if schema != SCHEMA:
        if type(schema) is int and schema > SCHEMA:
            raise Rejected(Reason.NEWER_SCHEMA, f"schema {schema}; this release reads up to {SCHEMA}")
        raise Rejected(Reason.NOT_A_RECORD, f"schema is {str(schema)[:80]}")
    named = record.get("model")
    if named is not None and named != model and model:
        raise Rejected(Reason.UNKNOWN_MODEL, f"it names the model {str(named)[:80]!r}; this is {model!r}")
    return record


def read_label(value: bytes | None, max_bytes: int = MAX_BYTES) -> tuple[str, Any]:
    """A label's id and `y`. Raises Rejected."""
    label = _read(value, max_bytes)
    request = label.get("id")
    if type(request) is not str or not request:
        raise Rejected(Reason.WRONG_LABEL, "it has no id that says whose it is")
    if "y" not in label:
        raise Rejected(Reason.WRONG_LABEL, "it has no y")
    return request, label["y"]


def time_of(text: Any, milliseconds: int) -> float:
    """A record's time, seconds since the epoch: its own (RFC 3339), or else its message's."""
    given = milliseconds / 1000
    if type(text) is not str:
        return given
    try:
        moment = datetime.fromisoformat(text)
        time = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return given
    return given if given > 0 and abs(time - given) > CLOCK_SECONDS else time


def _read(value: bytes | None, max_bytes: int) -> dict[str, Any]:
    if value is None:
        raise Rejected(Reason.NOT_A_RECORD, "the message is empty")
    if len(value) > max_bytes:
        raise Rejected(Reason.TOO_LARGE, f"{len(value)} bytes; at most {max_bytes}")
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise _unreadable(value, error) from None
    if type(found) is not dict:
        raise Rejected(Reason.NOT_A_RECORD, "it is no JSON object")
    return found


def _unreadable(value: bytes, error: ValueError) -> Rejected:
    """Bad JSON, told apart from the one mistake that other writers make: NaN and Infinity as Python writes them."""
    found: list[str] = []

    def number(text: str) -> float:
        if float(text) in (float("inf"), float("-inf")):
            found.append(text[:40])
        return 0.0

    try:
        json.loads(value, parse_constant=found.append, parse_float=number)
    except (ValueError, RecursionError):
        return Rejected(Reason.BAD_JSON, str(error)[:200])
    if found:
        return Rejected(Reason.NON_FINITE, f"it holds {found[0]}, which is no JSON number")
    return Rejected(Reason.BAD_JSON, str(error)[:200])
