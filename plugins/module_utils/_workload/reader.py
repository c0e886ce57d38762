# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Reads plain data into typed values and collects every problem with the path of its field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_QUANTITY = re.compile(r"^(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|k|M|G|T|)$")
DNS_LABEL = re.compile(r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$")
DNS_NAME = re.compile(r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$")
FILE_MODE = re.compile(r"^0?[0-7]{3}$")
ABSOLUTE_PATH = re.compile(r"^/(?:[^/\x00]+(?:/[^/\x00]+)*)$")

MISSING: Any = object()


class Reader:
    """One mapping under reading. Values come back typed; what is wrong goes to ``problems``, shared by all readers."""

    def __init__(self, data: Any, path: str, problems: list[str]) -> None:
        self.path = path
        self.problems = problems
        self._seen: set[str] = set()
        self._data: Mapping[str, Any] = {}
        if isinstance(data, Mapping):
            self._data = data
        else:
            self.problem("", f"must be a mapping, not {_kind(data)}")

    def problem(self, field: str, text: str) -> None:
        self.problems.append(f"{self.at(field)}: {text}")

    def at(self, field: str) -> str:
        return f"{self.path}.{field}" if self.path and field else self.path or field

    def has(self, field: str) -> bool:
        return self._data.get(field) is not None

    def raw(self, field: str) -> Any:
        self._seen.add(field)
        return self._data.get(field)

    def _value(self, field: str, default: Any) -> Any:
        value = self.raw(field)
        if value is None and default is MISSING:
            self.problem(field, "is required")
        return value

    def text(
        self,
        field: str,
        default: Any = MISSING,
        *,
        pattern: re.Pattern[str] | None = None,
        what: str = "",
        longest: int | None = None,
    ) -> Any:
        value = self._value(field, default)
        if value is None:
            return "" if default is MISSING else default
        if not isinstance(value, str):
            self.problem(field, f"must be a string, not {_kind(value)}")
            return "" if default is MISSING else default
        if pattern is not None and not pattern.match(value):
            self.problem(field, f"{value!r} is not {what}")
        if longest is not None and len(value) > longest:
            self.problem(field, f"{value!r} has {len(value)} characters, at most {longest} fit")
        return str(value)

    def choice(self, field: str, choices: Sequence[str], default: Any = MISSING) -> Any:
        value = self._value(field, default)
        if value is None:
            return choices[0] if default is MISSING else default
        if value not in choices:
            self.problem(field, f"{value!r} is not one of {', '.join(choices)}")
            return choices[0] if default is MISSING else default
        return str(value)

    def flag(self, field: str, default: bool) -> bool:
        value = self._value(field, default)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problem(field, f"must be true or false, not {_kind(value)}")
            return default
        return value

    def integer(self, field: str, default: Any = MISSING, *, least: int = 0, most: int | None = None) -> Any:
        value = self._value(field, default)
        if value is None:
            return least if default is MISSING else default
        if isinstance(value, bool) or not isinstance(value, int):
            self.problem(field, f"must be a whole number, not {_kind(value)}")
            return least if default is MISSING else default
        if value < least or (most is not None and value > most):
            self.problem(field, f"{value} is not between {least} and {most}" if most else f"{value} is below {least}")
        return int(value)

    def number(self, field: str, default: Any = MISSING, *, least: float = 0.0) -> Any:
        value = self._value(field, default)
        if value is None:
            return least if default is MISSING else default
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.problem(field, f"must be a number, not {_kind(value)}")
            return least if default is MISSING else default
        if not least <= value < float("inf"):
            self.problem(field, f"{value} is below {least:g}" if value < least else f"{value} is not a finite number")
            return least if default is MISSING else default
        return float(value)

    def size(self, field: str, default: Any = MISSING) -> Any:
        """A number of bytes, or a quantity such as 512Mi."""
        value = self._value(field, default)
        if value is None:
            return 0 if default is MISSING else default
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return int(value)
        match = _QUANTITY.match(value) if isinstance(value, str) else None
        if match is None:
            self.problem(field, f"{value!r} is not a size such as 512Mi or 2Gi")
            return 0 if default is MISSING else default
        return int(float(match[1]) * UNITS[match[2]])

    def mode(self, field: str, default: str) -> str:
        value = self.raw(field)
        if value is None:
            return default
        if not isinstance(value, str) or not FILE_MODE.match(value):
            self.problem(field, f'{value!r} is not a file mode as a quoted string, such as "0444"')
            return default
        return value.rjust(4, "0")

    def texts(self, field: str) -> tuple[str, ...]:
        value = self.raw(field)
        if value is None:
            return ()
        if not isinstance(value, Sequence) or isinstance(value, str):
            self.problem(field, f"must be a list of strings, not {_kind(value)}")
            return ()
        texts = []
        for index, item in enumerate(value):
            texts.append(self._word(f"{field}[{index}]", item))
        return tuple(texts)

    def mapping(self, field: str, *, keys: re.Pattern[str] | None = None, what: str = "") -> dict[str, str]:
        mapping = {}
        for key, item in self._items(field):
            if not isinstance(key, str) or (keys is not None and not keys.match(key)):
                self.problem(field, f"{key!r} is not {what or 'a string'}")
                continue
            mapping[str(key)] = self._word(f"{field}.{key}", item)
        return mapping

    def _items(self, field: str) -> Iterable[tuple[Any, Any]]:
        """Those of a mapping; none where there is none."""
        value = self.raw(field)
        if value is None:
            return ()
        if not isinstance(value, Mapping):
            self.problem(field, f"must be a mapping, not {_kind(value)}")
            return ()
        return value.items()

    def counts(self, field: str, *, keys: re.Pattern[str], what: str) -> dict[str, int]:
        """A mapping of names to whole numbers above 0."""
        counts = {}
        for key, item in self._items(field):
            if not isinstance(key, str) or not keys.match(key):
                self.problem(field, f"{key!r} is not {what}")
            elif isinstance(item, bool) or not isinstance(item, int) or item < 1:
                self.problem(f"{field}.{key}", "must be a whole number above 0")
            else:
                counts[key] = item
        return counts

    def _word(self, field: str, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            hint = ": write it in quotes" if isinstance(value, bool) else ""
            self.problem(field, f"must be a string, not {_kind(value)}{hint}")
            return ""
        if "\x00" in str(value):
            self.problem(field, "must not hold a NUL character")
        return str(value)

    def items(self, field: str, read: Callable[[Reader], T], *, key: str = "") -> tuple[T, ...]:
        """A list of mappings; with ``key``, no two of them may have that field in common."""
        value = self.raw(field)
        if value is None:
            return ()
        if not isinstance(value, Sequence) or isinstance(value, str):
            self.problem(field, f"must be a list, not {_kind(value)}")
            return ()
        items: list[T] = []
        keys: set[Any] = set()
        for index, item in enumerate(value):
            reader = Reader(item, self.at(f"{field}[{index}]"), self.problems)
            items.append(read(reader))
            reader.done()
            if key and isinstance(item, Mapping) and isinstance(item.get(key), (str, int)):
                if item[key] in keys:
                    reader.problem(key, f"{item[key]!r} is there twice")
                keys.add(item[key])
        return tuple(items)

    def item(self, field: str, read: Callable[[Reader], T], default: T) -> T:
        value = self.raw(field)
        if value is None:
            return default
        reader = Reader(value, self.at(field), self.problems)
        found = read(reader)
        reader.done()
        return found

    def done(self) -> None:
        """Reports the keys that nobody asked for."""
        for key in self._data:
            if key not in self._seen:
                known = ", ".join(sorted(self._seen))
                self.problem(str(key), f"is not known here (known: {known})")


def _kind(value: Any) -> str:
    names = {type(None): "nothing", bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    for kind, name in names.items():
        if isinstance(value, kind):
            return name
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, Sequence) else type(value).__name__
