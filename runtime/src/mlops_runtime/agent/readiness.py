# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Asks a task whether it is ready, before the gateway hears of it.

The gateway checks readiness too, but takes every new address for ready until its first check, and all of them again
whenever its configuration changes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum


class Verdict(Enum):
    READY = "ready"
    NOT_READY = "not ready"
    """It said so, or refused the connection."""
    SILENT = "silent"
    """No word from it in time: it is slow, or its node is gone, or this agent's own network."""


@dataclass(frozen=True)
class Target:
    """Where a task answers."""

    address: str
    port: int
    path: str | None = None
    """None: accepting a connection is enough."""
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)


async def ask(target: Target, timeout: float) -> Verdict:
    """One question, answered within `timeout` seconds."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(target.address, target.port)
            if target.path is None:
                return Verdict.READY
            writer.write(_request(target))
            status = (await reader.readline()).split(b" ", 2)
            answered = len(status) >= 2 and status[0].startswith(b"HTTP/") and status[1][:1] in (b"2", b"3")
            return Verdict.READY if answered else Verdict.NOT_READY
    except ConnectionError:
        return Verdict.NOT_READY
    except (OSError, TimeoutError):
        return Verdict.SILENT
    finally:
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()


async def ask_all(targets: Iterable[Target], timeout: float, at_once: int = 32) -> dict[Target, Verdict]:
    """Asks all of them, so many at once."""
    gate = asyncio.Semaphore(at_once)

    async def one(target: Target) -> tuple[Target, Verdict]:
        async with gate:
            return target, await ask(target, timeout)

    return dict(await asyncio.gather(*(one(target) for target in targets)))


def _request(target: Target) -> bytes:
    headers = {"user-agent": "mlops-agent", **{name.lower(): value for name, value in target.headers.items()}}
    headers.setdefault("host", f"{target.address}:{target.port}")
    lines = [f"GET {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode()
