# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Reading a declaration: every problem is kept, under the path of the value that has it, and reading goes on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

Scalar = str | int | float | bool  # pylint: disable=unsupported-binary-operation
T = TypeVar("T")


class InvalidModel(ValueError):
    """A declaration that can't be used; ``problems`` holds one line each, "path: what is wrong and what to set"."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def type_name(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, (int, float)):
        return "a number"
    return "a list" if isinstance(value, Sequence) else type(value).__name__


@dataclass(slots=True)
class Node:
    """One value of the declaration, where it stands, and the list that its problems go to."""

    value: object
    path: str
    problems: list[str]
    _read: set[str] = field(default_factory=set)

    def problem(self, message: str) -> None:
        self.problems.append(f"{self.path}: {message}")

    @property
    def given(self) -> bool:
        return self.value is not None

    # A mapping's fields

    def __getitem__(self, key: str) -> Node:
        self._read.add(key)
        value = self.value.get(key) if isinstance(self.value, Mapping) else None
        return Node(value, f"{self.path}.{key}", self.problems)

    def is_mapping(self) -> bool:
        if isinstance(self.value, Mapping):
            return True
        self.problem(f"must be a mapping, not {type_name(self.value)}")
        return False

    def close(self) -> None:
        """Reports the keys that nobody asked for."""
        if not isinstance(self.value, Mapping):
            return
        for key in self.value:
            if key in self._read:
                continue
            near = difflib.get_close_matches(str(key), self._read, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(self._read))}"
            self.problem(f"unknown key {str(key)!r}; {hint}")

    # A list's items

    def items(self) -> Iterator[Node]:
        if not self.given:
            return
        if isinstance(self.value, str) or not isinstance(self.value, Sequence):
            self.problem(f"must be a list, not {type_name(self.value)}")
            return
        for index, item in enumerate(self.value):
            yield Node(item, f"{self.path}[{index}]", self.problems)

    # Values

    def required(self, what: str) -> bool:
        """Whether the value is there; says what to set where it isn't."""
        if self.given:
            return True
        self.problem(f"is missing; {what}")
        return False

    def text(self, default: str = "", *, pattern: str = "", rule: str = "") -> str:
        if not self.given:
            return default
        if not isinstance(self.value, str) or (pattern and not re.fullmatch(pattern, self.value)):
            shown = repr(self.value) if isinstance(self.value, Scalar) else type_name(self.value)
            self.problem(f"{shown} {rule or 'is not a string'}")
            return default
        return str(self.value)

    def choice(self, choices: Sequence[str], default: str) -> str:
        if not self.given:
            return default
        if self.value not in choices:
            near = difflib.get_close_matches(str(self.value), choices, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            self.problem(f"{self.value!r} is not one of {', '.join(choices)}{hint}")
            return default
        return str(self.value)

    def integer(self, default: int, *, low: int = 0, high: int = 1_000_000) -> int:
        if not self.given:
            return default
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not low <= self.value <= high:
            self.problem(f"{self.value!r} is not a whole number from {low} to {high}")
            return default
        return int(self.value)

    def number(self, default: float, *, low: float = 0.0, high: float = 1e6) -> float:
        if not self.given:
            return default
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)) or not low <= self.value <= high:
            self.problem(f"{self.value!r} is not a number from {low:g} to {high:g}")
            return default
        return float(self.value)

    def boolean(self, default: bool) -> bool:
        if not self.given:
            return default
        if not isinstance(self.value, bool):
            self.problem(f"must be true or false, not {type_name(self.value)}")
            return default
        return bool(self.value)

    def texts(self) -> tuple[str, ...]:
        return tuple(text for item in self.items() if (text := item.text()))

    def mapping_of(self, read: Callable[[Node], T | None], *, key_pattern: str, rule: str) -> dict[str, T]:
        """A mapping with free keys; ``read`` reports and answers None for a value that won't do."""
        found: dict[str, T] = {}
        if not self.given or not self.is_mapping():
            return found
        if not isinstance(self.value, Mapping):
            raise AssertionError("isinstance(self.value, Mapping)")
        for key in self.value:
            node = self[str(key)]
            if not isinstance(key, str) or not re.fullmatch(key_pattern, key):
                self.problem(f"{key!r} {rule}")
                continue
            value = read(node)
            if value is not None:
                found[str(key)] = value
        return found

    def scalar(self) -> Scalar | None:
        if isinstance(self.value, bool):
            return bool(self.value)
        if isinstance(self.value, str):
            return str(self.value)
        if isinstance(self.value, int):
            return int(self.value)
        if isinstance(self.value, float):
            return float(self.value)
        self.problem(f"must be a string, a number or a boolean, not {type_name(self.value)}")
        return None

    def scalar_text(self) -> str | None:
        """A scalar as an environment variable or a tag shows it."""
        value = self.scalar()
        if isinstance(value, bool):
            return "true" if value else "false"
        return None if value is None else str(value)
