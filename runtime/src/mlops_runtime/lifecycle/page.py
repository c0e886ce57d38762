# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The page: models, what serves, drift, approvals, decisions. Made here, without a line of JavaScript."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from mlops_runtime.lifecycle.ledger import reading, served, stages
from mlops_runtime.lifecycle.ledger.database import Connection

TOKEN_SECONDS: Final = 3600
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Tokens:
    """Say that a form was made for this client and this episode, an hour ago at most. Nothing is kept."""

    def __init__(self, key: bytes) -> None:
        self._key = hashlib.sha256(b"lifecycle's forms:" + key).digest()

    def make(self, client: str, episode: str) -> str:
        until = str(int(time.time()) + TOKEN_SECONDS)
        return f"{until}.{self._sign(client, episode, until)}"

    def holds(self, token: str, client: str, episode: str) -> bool:
        until, _, signature = token.partition(".")
        signed = hmac.compare_digest(signature.encode(), self._sign(client, episode, until).encode())
        return signed and until.isdigit() and int(until) >= time.time()

    def _sign(self, client: str, episode: str, until: str) -> str:
        return hmac.new(self._key, f"{client}\n{episode}\n{until}".encode(), hashlib.sha256).hexdigest()


def fields(body: bytes) -> dict[str, str]:
    """Of a form."""
    return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=20))


async def look(connection: Connection) -> dict[str, Any]:
    """What the page shows."""
    return {
        "models": await reading.registered(connection),
        "open": await reading.episodes(connection, limit=100, open_only=True),
        "episodes": await reading.episodes(connection, limit=20),
        "decisions": await reading.decisions(connection, limit=50),
        "served": await served.history(connection, limit=20),
        "refusals": await reading.refusals(connection, limit=20),
    }


def answer(seen: Mapping[str, Any], problems: Mapping[str, str], token: Callable[[UUID], str] | None) -> Response:
    """`token` makes one for an episode's form; None where the client may not approve."""
    text = _ENVIRONMENT.get_template("page.html").render(**seen, problems=problems, token=token, stages=stages.ALL)
    return HTMLResponse(text, headers=_HEADERS)


def _moment(value: datetime | None) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if value else ""


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    if value < 100:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("mlops_runtime.lifecycle"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_ENVIRONMENT.filters |= {"moment": _moment, "seconds": _seconds}
