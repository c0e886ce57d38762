# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What the endpoints share: refusals as answers, bodies with a limit, and who asks."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

Endpoint = Callable[[Request], Awaitable[Response]]


class Refused(Exception):
    """An answer other than success."""

    def __init__(self, code: int, error: str, **more: Any) -> None:
        self.code = code
        self.document = {"error": error, **more}
        super().__init__(error)


class Document(JSONResponse):
    """JSON with times and ids in it."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, default=_text, ensure_ascii=False).encode()


async def body(request: Request, limit: int) -> bytes:
    """Raises Refused: 413 as soon as there are more bytes than that, 400 where it broke off."""
    received = bytearray()
    try:
        async for chunk in request.stream():
            received += chunk
            if len(received) > limit:
                raise Refused(413, f"the body has more than {limit} bytes")
    except ClientDisconnect:
        raise Refused(400, "the body broke off") from None
    return bytes(received)


async def json_body(request: Request, limit: int) -> Any:
    try:
        return json.loads(await body(request, limit))
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None


def identity(request: Request) -> uuid.UUID:
    """The id in the path."""
    try:
        return uuid.UUID(request.path_params["id"])
    except ValueError:
        raise Refused(404, "there is no such episode") from None


def model_of(request: Request) -> str:
    """The model that is asked for; empty for all."""
    model = request.query_params.get("model", "")
    if "\0" in model:
        raise Refused(422, "model: is no model's name")
    return model


def limit_of(request: Request) -> int:
    text = request.query_params.get("limit", "50")
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 500):
        raise Refused(422, "limit: a whole number from 1 to 500")
    return int(text)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    raise TypeError(type(value).__name__)
