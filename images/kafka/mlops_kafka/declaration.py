# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""What users and topics there are to be, as JSON says it, and what follows for a broker that has others.

    users   [{"name": "etl", "password_file": "...", "grants": [{"topics": "orders.*", "rights": ["read"]},
             {"groups": "etl*", "rights": ["read"]}]}]
    topics  [{"name": "orders", "partitions": 3, "retention": "7d", "cleanup": "delete", "settings": {},
             "grants": {"etl": ["read", "write"]}}]

A name that ends with ``*`` stands for all that begin so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops_kafka.settings import SettingsError

RIGHTS = {
    "topics": ("read", "write", "create", "delete"),
    "groups": ("read", "delete"),
    "transactions": ("write",),
}
CLEANUPS = ("delete", "compact", "compact,delete")
_TOPIC = re.compile(r"^[A-Za-z0-9._-]{1,249}$")
_PATTERN = re.compile(r"^(\*|[A-Za-z0-9._-]{1,249}\*?)$")
_USER = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
_RETENTION = re.compile(r"^([1-9]\d*)(m|h|d)$")
_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True, order=True)
class Grant:
    """One right of one user. ``kind``: topics, groups or transactions (their ids); ``name`` may end with ``*``."""

    user: str
    kind: str
    name: str
    right: str


@dataclass(frozen=True)
class User:
    name: str
    password_file: str


@dataclass(frozen=True)
class Topic:
    """``settings`` are Kafka's, retention and cleanup among them; with no ``partitions`` the broker's own number."""

    name: str
    partitions: int | None = None
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Declaration:
    """``users`` is None where users are somebody else's business: then none is made, changed or removed."""

    users: tuple[User, ...] | None
    grants: frozenset[Grant]
    topics: tuple[Topic, ...]

    @classmethod
    def read(cls, users: str, topics: str) -> Declaration:
        """Raises SettingsError with every problem."""
        reader = _Reader()
        found = reader.users(users) if users else None
        declaration = cls(found, frozenset(), reader.topics(topics) if topics else ())
        names = {user.name for user in found or ()}
        unknown = sorted({grant.user for grant in reader.grants} - names)
        if unknown:
            reader.problems.append(f"grants to users that aren't declared: {', '.join(unknown)}")
        if reader.problems:
            raise SettingsError("\n".join(["the declaration is wrong:", *reader.problems]))
        return cls(declaration.users, frozenset(reader.grants), declaration.topics)


def retention_ms(text: str) -> str | None:
    """Kafka's retention.ms of 30m, 12h, 7d or forever; None if it is none of them."""
    if text == "forever":
        return "-1"
    match = _RETENTION.match(text)
    return str(int(match[1]) * _MS[match[2]]) if match else None


class _Reader:
    def __init__(self) -> None:
        self.problems: list[str] = []
        self.grants: set[Grant] = set()

    def users(self, text: str) -> tuple[User, ...]:
        found: dict[str, User] = {}
        for item in self._list("users", text):
            name = str(item.get("name", ""))
            self._known(f"user {name!r}", item, {"name", "password_file", "grants"})
            if not _USER.match(name):
                self.problems.append(f"user {name!r}: a name is letters, digits, dots, dashes and _")
            if name in found:
                self.problems.append(f"user {name}: is declared twice")
            found[name] = User(name, str(item.get("password_file", "")))
            for grant in item.get("grants", []):
                self._grant(name, grant)
        return tuple(found.values())

    def _grant(self, user: str, grant: Mapping[str, Any]) -> None:
        kinds = [kind for kind in RIGHTS if kind in grant]
        self._known(f"grant of {user}", grant, {*RIGHTS, "rights"})
        if len(kinds) != 1:
            self.problems.append(f"grant of {user}: names one of {', '.join(RIGHTS)}")
            return
        self._rights(user, kinds[0], str(grant[kinds[0]]), grant.get("rights", []))

    def _rights(self, user: str, kind: str, name: str, rights: Iterable[str]) -> None:
        if not _PATTERN.match(name):
            self.problems.append(f"grant of {user}: {name!r} is no name of {kind}, nor the beginning of one and *")
        for right in rights:
            if right not in RIGHTS[kind]:
                self.problems.append(f"grant of {user}: {right!r} is no right on {kind}: {', '.join(RIGHTS[kind])}")
            else:
                self.grants.add(Grant(user, kind, name, right))

    def topics(self, text: str) -> tuple[Topic, ...]:
        found: dict[str, Topic] = {}
        for item in self._list("topics", text):
            name = str(item.get("name", ""))
            if not _TOPIC.match(name) or name in (".", ".."):
                self.problems.append(f"topic {name!r}: a name is 1 to 249 letters, digits, dots, dashes and _")
            self._known(f"topic {name}", item, {"name", "partitions", "retention", "cleanup", "settings", "grants"})
            if name in found:
                self.problems.append(f"topic {name}: is declared twice")
            found[name] = Topic(name, self._partitions(name, item.get("partitions")), self._settings(name, item))
            for user, rights in (item.get("grants") or {}).items():
                self._rights(str(user), "topics", name, rights)
        return tuple(found.values())

    def _partitions(self, name: str, value: object) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
            self.problems.append(f"topic {name}: partitions must be a number from 1 to 1000, not {value!r}")
            return None
        return value

    def _settings(self, name: str, item: Mapping[str, Any]) -> dict[str, str]:
        settings = {str(key): str(value) for key, value in (item.get("settings") or {}).items()}
        if item.get("retention") is not None:
            found = retention_ms(str(item["retention"]))
            if found is None:
                self.problems.append(f"topic {name}: retention is such as 30m, 12h, 7d or forever: {item['retention']}")
            else:
                settings["retention.ms"] = found
        if item.get("cleanup") is not None:
            if item["cleanup"] not in CLEANUPS:
                self.problems.append(f"topic {name}: cleanup is {', '.join(CLEANUPS)}, not {item['cleanup']!r}")
            settings["cleanup.policy"] = str(item["cleanup"])
        return settings

    def _list(self, what: str, text: str) -> list[Mapping[str, Any]]:
        try:
            found = json.loads(text)
        except ValueError as error:
            self.problems.append(f"{what}: no JSON: {error}")
            return []
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            self.problems.append(f"{what}: must be a list of mappings")
            return []
        return found

    def _known(self, where: str, item: Mapping[str, Any], known: set[str]) -> None:
        for key in sorted(set(map(str, item)) - known):
            self.problems.append(f"{where}: unknown key {key}")


@dataclass(frozen=True)
class Present:
    """A topic as the broker has it; ``settings``: those that somebody has set for it alone."""

    partitions: int
    settings: dict[str, str]


@dataclass(frozen=True)
class TopicPlan:
    """What to do about topics, by name. ``set`` values of None take a setting back to the broker's own."""

    make: tuple[Topic, ...]
    partitions: dict[str, int]
    set: dict[str, dict[str, str | None]]
    problems: tuple[str, ...]


def plan_topics(declared: Iterable[Topic], present: Mapping[str, Present]) -> TopicPlan:
    """Nothing is ever taken away: fewer partitions than there are is a problem; topics that aren't declared stay."""
    make, partitions, changed, problems = [], {}, {}, []
    for topic in declared:
        there = present.get(topic.name)
        if there is None:
            make.append(topic)
            continue
        wanted = topic.partitions or there.partitions
        if wanted < there.partitions:
            problems.append(
                f"topic {topic.name}: has {there.partitions} partitions, and {wanted} are declared. Kafka takes none "
                f"away: declare {there.partitions}, or a topic of another name"
            )
        elif wanted > there.partitions:
            partitions[topic.name] = wanted
        different: dict[str, str | None] = {
            key: value for key, value in topic.settings.items() if there.settings.get(key) != value
        }
        different |= dict.fromkeys(sorted(set(there.settings) - set(topic.settings)))
        if different:
            changed[topic.name] = different
    return TopicPlan(tuple(make), partitions, changed, tuple(problems))


def plan_grants(
    declared: frozenset[Grant], present: frozenset[Grant], users: Iterable[str]
) -> tuple[list[Grant], list[Grant]]:
    """Which to add, and which to take away from those users."""
    names = set(users)
    return sorted(declared - present), sorted(grant for grant in present - declared if grant.user in names)
