# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What goes over the wire: a request's body to Python and an answer to JSON."""

from __future__ import annotations

import base64
import email.parser
import email.policy
import json
import math
from typing import Any
from urllib.parse import parse_qs

import orjson

from mlops_runtime.serving.payload import bad_data

_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


def decode(body: bytes, content_type: str, query: bytes) -> Any:
    """A request as Seldon's wrapper takes it: JSON, a form with a field `json`, `?json=`, or a multipart form."""
    if content_type.startswith("application/json") and not query:
        return decode_json(body)
    if "multipart/form-data" in content_type:
        return _decode_multipart(body, content_type)
    if content_type.startswith("application/x-www-form-urlencoded") and (text := _field(body)):
        return decode_json(text)
    if text := _field(query):
        return decode_json(text)
    kind = content_type.split(";")[0].strip().lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return decode_json(body)
    raise bad_data("Can't find JSON in data")


def decode_json(text: bytes | str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text)  # NaN, Infinity and integers beyond 64 bits
    except (ValueError, RecursionError) as error:
        raise bad_data("Can't find JSON in data") from error


def _field(form: bytes) -> str:
    return parse_qs(form.decode("utf-8", "replace")).get("json", [""])[0]


def _decode_multipart(body: bytes, content_type: str) -> dict[str, Any]:
    """`strData` as text, other fields as JSON, a file `binData` as bytes in base64, other files as text."""
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n" + body)
    if not message.is_multipart():
        raise bad_data("Can't find the parts of the form in data")
    request: dict[str, Any] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            continue
        content = part.get_payload(decode=True)
        if not isinstance(content, bytes):
            raise bad_data(f"Can't read the form's part {name}")
        if part.get_filename() is not None and name == "binData":
            request[name] = base64.b64encode(content).decode()
        elif part.get_filename() is not None or name == "strData":
            try:
                request[name] = content.decode()
            except UnicodeDecodeError as error:
                raise bad_data(f"The form's part {name} isn't UTF-8") from error
        else:
            request[name] = decode_json(content)
    return request


def encode(answer: Any) -> bytes:
    """JSON as Seldon's wrapper writes it; NaN and infinities stay what Python's json makes of them."""
    if _is_finite(answer):
        try:
            return orjson.dumps(answer, option=_OPTIONS)
        except (TypeError, orjson.JSONEncodeError):
            pass
    return json.dumps(answer, default=_plain).encode()


def _is_finite(answer: Any) -> bool:
    """Whether no array in an answer holds what JSON can't say. orjson would write null."""
    if not isinstance(answer, dict):
        return _all_finite(answer)
    if "jsonData" in answer:
        return _all_finite(answer["jsonData"])
    data = answer.get("data")
    if not isinstance(data, dict):
        return True
    if "tensor" in data:
        return _all_finite(data["tensor"].get("values"))
    return _all_finite(data.get("ndarray"))


def _all_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list | tuple):
        return all(map(_all_finite, value))
    if isinstance(value, dict):
        return all(map(_all_finite, value.values()))
    return True


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
