# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schedules of a deployment: as declared, as Prefect has them, and what leads from one to the other. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .._errors import InputError

KINDS = ("cron", "interval", "rrule")
RULE_KEYS = {
    "cron": ("cron", "timezone", "day_or"),
    "interval": ("interval", "timezone", "anchor_date"),
    "rrule": ("rrule", "timezone"),
}
OWN_KEYS = ("slug", "active", "parameters")

Schedule = dict[str, Any]


@dataclass(frozen=True)
class Changes:
    """What to send, and what the schedules become."""

    create: list[dict[str, Any]] = field(default_factory=list)
    update: dict[str, dict[str, Any]] = field(default_factory=dict)
    remove: list[str] = field(default_factory=list)
    after: list[Schedule] = field(default_factory=list)


def options() -> dict[str, Any]:
    """The suboptions of a schedule."""
    return {
        "slug": {"type": "str"},
        "cron": {"type": "str"},
        "day_or": {"type": "bool"},
        "interval": {"type": "float"},
        "anchor_date": {"type": "str"},
        "rrule": {"type": "str"},
        "timezone": {"type": "str"},
        "active": {"type": "bool"},
        "parameters": {"type": "dict"},
    }


def parse(values: Sequence[Mapping[str, Any]], option: str = "schedules") -> list[Schedule]:
    """Schedules as the module's option has them, each with what was given only.

    :raises InputError: for what Prefect would refuse, or can't tell apart.
    """
    schedules: list[Schedule] = []
    for number, value in enumerate(values):
        one = {key: given for key, given in value.items() if given is not None}
        where = f"{option}[{number}]"
        kinds = [kind for kind in KINDS if kind in one]
        if len(kinds) != 1:
            raise InputError(f"{where}: give one of {', '.join(KINDS)}")
        misplaced = sorted(set(one) - {*RULE_KEYS[kinds[0]], *OWN_KEYS})
        if misplaced:
            raise InputError(f"{where}.{misplaced[0]}: has no meaning beside {kinds[0]}")
        if one.get("interval", 1) <= 0:
            raise InputError(f"{where}.interval: must be above 0 seconds")
        if "anchor_date" in one and _instant(one["anchor_date"]) is None:
            raise InputError(
                f"{where}.anchor_date: {one['anchor_date']!r} is no time with an offset, such as 2026-01-01T06:00:00Z"
            )
        slug = one.get("slug")
        if slug is not None and any(other.get("slug") == slug for other in schedules):
            raise InputError(f"{where}.slug: {slug} is given twice")
        schedules.append(one)
    return schedules


def facts(schedule: Mapping[str, Any]) -> Schedule:
    """A schedule of Prefect's in the collection's form."""
    rule = schedule["schedule"]
    kind = next((kind for kind in KINDS if kind in rule), "")
    own = {"slug": schedule.get("slug"), "active": bool(schedule["active"]), "parameters": schedule["parameters"]}
    return own | {key: rule.get(key) for key in RULE_KEYS.get(kind, ())}


def plan(wanted: Sequence[Schedule], current: Mapping[str, Schedule]) -> Changes:
    """Make the schedules those that are wanted.

    A schedule is known by its slug, or else by its rule: the same as a whole first, then the same rule with other
    settings. What nobody wants is removed.

    :param current: the schedules as ``facts`` has them, by id.
    """
    match: dict[int, str] = {}

    def pair(same: Callable[[Schedule, Schedule], bool]) -> None:
        free = {key: one for key, one in current.items() if key not in match.values()}
        left = [number for number in range(len(wanted)) if number not in match]
        match.update(_pairs({n: [key for key, other in free.items() if same(wanted[n], other)] for n in left}))

    pair(lambda one, other: "slug" in one and one["slug"] == other["slug"])
    pair(lambda one, other: _may_pair(one, other) and not _differs(one, other))
    pair(lambda one, other: _may_pair(one, other) and _same_rule(one, other))
    create, update, after = [], {}, []
    for number, one in enumerate(wanted):
        held = current.get(match.get(number, ""))
        merged = _merged(one, held)
        after.append(merged)
        if held is None:
            create.append(_body(merged))
        elif _differs(one, held):
            update[match[number]] = _body(merged)
    kept = {key: number for number, key in match.items()}
    in_order = [after[kept[key]] for key in current if key in kept]
    new = [one for number, one in enumerate(after) if number not in match]
    return Changes(create, update, [key for key in current if key not in kept], in_order + new)


def _pairs(choices: Mapping[int, list[str]]) -> dict[int, str]:
    """As many pairs as there can be, by augmenting paths: who is easily pleased makes room for who isn't."""
    taken: dict[str, int] = {}

    def place(number: int, seen: set[str]) -> bool:
        for key in choices[number]:
            if key not in seen:
                seen.add(key)
                if key not in taken or place(taken[key], seen):
                    taken[key] = number
                    return True
        return False

    for number in choices:
        place(number, set())
    return {number: key for key, number in taken.items()}


def _may_pair(one: Schedule, other: Schedule) -> bool:
    """Of two that have slugs, only the same slug makes a pair."""
    return "slug" not in one or other["slug"] is None


def _kind(schedule: Schedule) -> str:
    return next((kind for kind in KINDS if kind in schedule), "")


def _same_rule(one: Schedule, other: Schedule) -> bool:
    kind = _kind(one)
    return kind == _kind(other) and _same(kind, one[kind], other[kind])


def _differs(one: Schedule, other: Schedule) -> bool:
    return not _same_rule(one, other) or any(not _same(key, value, other.get(key)) for key, value in one.items())


def _same(key: str, wanted: Any, current: Any) -> bool:
    if key == "anchor_date":
        return _instant(wanted) == _instant(current)
    if key == "rrule":
        lines = _lines(wanted)
        # Prefect adds a start to a rule that has none.
        anchored = any(line.startswith("DTSTART") for line in lines)
        return lines == [line for line in _lines(current) if anchored or not line.startswith("DTSTART")]
    if key == "cron":
        return str(wanted).split() == str(current).split()
    return bool(wanted == current)


def _lines(rule: Any) -> list[str]:
    lines = (line.strip() for line in str(rule).splitlines())
    return [line.removeprefix("RRULE:") for line in lines if line]


def _instant(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _merged(one: Schedule, held: Schedule | None) -> Schedule:
    """What a schedule becomes: what is not given stays, as long as the kind of rule does."""
    base: Schedule = {"slug": None, "active": True, "parameters": {}}
    if held is not None:
        keep = (*OWN_KEYS, *RULE_KEYS[_kind(one)]) if _kind(one) == _kind(held) else OWN_KEYS
        base |= {key: held[key] for key in keep}
    # The text that means the same stays, with the start that Prefect gave it.
    given = {key: value for key, value in one.items() if key not in base or not _same(key, value, base[key])}
    return base | given


def _body(schedule: Schedule) -> dict[str, Any]:
    rule = {key: schedule[key] for key in RULE_KEYS[_kind(schedule)] if schedule.get(key) is not None}
    body = {"schedule": rule, "active": schedule["active"], "parameters": schedule["parameters"]}
    return body if schedule["slug"] is None else body | {"slug": schedule["slug"]}
