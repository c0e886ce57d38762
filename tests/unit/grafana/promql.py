# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The names in an expression of Prometheus's language: metrics and labels. Its grammar is promtool's to check."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<range>\[[^\]]*\])|(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)"""
    r"""|(?P<number>\d[\w.]*)|(?P<sign>=~|!~|!=|==|[<>]=?|[-+*/%^=(){},@])|(?P<space>\s+)"""
)
GROUPING = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
WORDS = GROUPING | {"and", "or", "unless", "bool", "offset"}


@dataclass
class Names:
    """What an expression names. `selected`: labels by the metric that they select from."""

    metrics: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    grouped: set[str] = field(default_factory=set)
    selected: dict[str, set[str]] = field(default_factory=dict)


def names(expression: str) -> Names:
    """Raises ValueError where a sign is none of the language."""
    tokens, at = [], 0
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise ValueError(f"{expression[at:]!r} can't be read")
        if match.lastgroup != "space":
            tokens.append((match.lastgroup, match[0]))
        at = match.end()
    found = Names()
    metric, place = "", ""
    for index, (kind, text) in enumerate(tokens):
        following = tokens[index + 1][1] if index + 1 < len(tokens) else ""
        if text in ("{", "}"):
            place = "{" if text == "{" else ""
        elif text == ")" and place == "group":
            place = ""
        elif kind != "name":
            continue
        elif place == "{":
            found.selected[metric].add(text)
        elif place == "group":
            found.grouped.add(text)
        elif text in GROUPING:
            place = "group" if following == "(" else ""
        elif text in WORDS:
            continue
        elif following == "(" or following in ("by", "without"):
            found.functions.add(text)
        else:
            metric = text
            found.metrics.add(text)
            found.selected.setdefault(text, set())
    return found
