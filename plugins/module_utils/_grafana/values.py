# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values in one form, whatever way a user or a server writes them; pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .._errors import InputError

UNITS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
"""Milliseconds, as Prometheus counts them."""
DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")


def plain(value: Any) -> Any:
    """JSON as it comes back from a server: whole numbers are integers, keys are texts."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON; to Python, true is 1."""
    return json.dumps(plain(one), sort_keys=True) == json.dumps(plain(other), sort_keys=True)


def milliseconds(option: str, value: Any) -> int:
    """A duration of Prometheus, such as ``1h30m``, or a number of seconds.

    :raises InputError: for anything else.
    """
    text = str(value).strip() if not isinstance(value, bool) else ""
    if re.fullmatch(r"\d+", text):
        return int(text) * 1000
    found = DURATION.fullmatch(text)
    if not text or not found:
        raise InputError(f"{option}: {value!r} is not a duration such as 30s, 5m or 1h30m, nor a number of seconds")
    return sum(int(count) * size for count, size in zip(found.groups(), UNITS.values(), strict=True) if count)


def duration(option: str, value: Any) -> str:
    """A duration in the one form that all comparisons use: the fewest units, as in ``1h30m``."""
    left = milliseconds(option, value)
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def seconds(option: str, value: Any) -> int:
    """A duration in whole seconds."""
    whole, rest = divmod(milliseconds(option, value), 1000)
    if rest:
        raise InputError(f"{option}: {value!r} must be whole seconds")
    return whole


def texts(option: str, values: Mapping[str, Any] | None) -> dict[str, str]:
    """A map of texts; numbers and truth values become what JSON calls them."""
    made = {}
    for key, value in (values or {}).items():
        if value is None or isinstance(value, (list, dict)):
            raise InputError(f"{option}.{key}: must be a text")
        made[str(key)] = value if isinstance(value, str) else json.dumps(value)
    return made


def paths_that_differ(wanted: Any, found: Any, where: str = "") -> list[str]:
    """Where two values differ, as in ``rules[0].model.expr``."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        keys = sorted({*map(str, wanted), *map(str, found)})
        dotted = f"{where}." if where else ""
        return [path for key in keys for path in paths_that_differ(wanted.get(key), found.get(key), f"{dotted}{key}")]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = enumerate(zip(wanted, found, strict=True))
        return [path for number, (a, b) in pairs for path in paths_that_differ(a, b, f"{where}[{number}]")]
    return [] if same(wanted, found) else [where]
