# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._prefect.schedules import Changes, facts, parse, plan
from hypothesis import given
from hypothesis import strategies as st

ZONES = st.sampled_from(["UTC", "Europe/Berlin"])
RULES = st.one_of(
    st.fixed_dictionaries({"cron": st.sampled_from(["0 1 * * *", "0 2 * * *"])}, optional={"day_or": st.booleans()}),
    st.fixed_dictionaries(
        {"interval": st.sampled_from([60.0, 3600.0])},
        optional={"anchor_date": st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00"])},
    ),
    st.fixed_dictionaries({"rrule": st.sampled_from(["FREQ=DAILY", "RRULE:FREQ=DAILY", "DTSTART:2026\nFREQ=DAILY"])}),
)
OWN = st.fixed_dictionaries(
    {},
    optional={
        "timezone": ZONES,
        "active": st.booleans(),
        "parameters": st.sampled_from([{}, {"a": 1}]),
        "slug": st.sampled_from(["x", "y", "z"]),
    },
)
SCHEDULES = st.lists(st.builds(lambda rule, own: rule | own, RULES, OWN), max_size=4).filter(
    lambda found: len({one["slug"] for one in found if "slug" in one}) == sum("slug" in one for one in found)
)


def stored(bodies: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """As Prefect has them: with what it adds to a rule."""
    made = {}
    for key, body in bodies.items():
        rule = dict(body["schedule"])
        rule.setdefault("timezone", None if "cron" in rule else "UTC")
        if "cron" in rule:
            rule.setdefault("day_or", True)
        if "interval" in rule:
            rule.setdefault("anchor_date", "2026-11-29T05:53:22.218201Z")
        if "rrule" in rule and "DTSTART" not in rule["rrule"]:
            rule["rrule"] = f"DTSTART:20200101T000000\n{rule['rrule']}"
        made[key] = facts({"slug": None, **body, "schedule": rule})
    return made


def changes_of(wanted: list[dict[str, Any]], held: dict[str, dict[str, Any]]) -> bool:
    changes = plan(wanted, held)
    return bool(changes.create or changes.update or changes.remove)


def applied(changes: Changes, bodies: dict[str, dict[str, Any]], prefix: str) -> dict[str, dict[str, Any]]:
    """What the server keeps after the changes were sent."""
    kept = {key: changes.update.get(key, body) for key, body in bodies.items() if key not in changes.remove}
    return kept | {f"{prefix}{number}": body for number, body in enumerate(changes.create)}


@given(SCHEDULES, SCHEDULES)
def test_schedules_converge(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    made = plan(parse(first), {})
    assert len(made.create) == len(first) and not made.update and not made.remove
    held = applied(made, {}, "a")
    assert not changes_of(parse(first), stored(held))
    changes = plan(parse(second), stored(held))
    after = stored(applied(changes, held, "b"))
    assert len(after) == len(changes.after) == len(second)
    assert not changes_of(parse(second), after), (after, second)


@given(SCHEDULES)
def test_the_order_is_of_no_account(wanted: list[dict[str, Any]]) -> None:
    held = stored(applied(plan(parse(wanted), {}), {}, "a"))
    assert not changes_of(parse(wanted), dict(reversed(held.items())))


CRON = {"cron": "0 1 * * *", "timezone": None, "day_or": True}


def server(**more: Any) -> dict[str, Any]:
    return facts({"schedule": CRON, "active": True, "parameters": {}, "slug": None, **more})


@pytest.mark.parametrize(
    ("wanted", "held", "changed"),
    [
        ({"cron": "0  1 * * *"}, server(), False),
        ({"cron": "0 1 * * *"}, server(active=False, parameters={"a": 1}, slug="theirs"), False),  # left as they are
        ({"cron": "0 1 * * *", "active": True}, server(active=False), True),
        ({"cron": "0 1 * * *", "timezone": "UTC"}, server(), True),
        ({"cron": "0 1 * * *", "slug": "mine"}, server(), True),
        (
            {"interval": 60, "anchor_date": "2026-01-01T01:00:00+01:00"},
            server(schedule={"interval": 60.0, "anchor_date": "2026-01-01T00:00:00Z", "timezone": "UTC"}),
            False,
        ),
        (
            {"rrule": "FREQ=DAILY"},
            server(schedule={"rrule": "DTSTART:20200101T000000\nRRULE:FREQ=DAILY", "timezone": "UTC"}),
            False,
        ),
        (
            {"rrule": "DTSTART:20260101T000000\nFREQ=DAILY"},
            server(schedule={"rrule": "DTSTART:20200101T000000\nFREQ=DAILY", "timezone": "UTC"}),
            True,
        ),
    ],
)
def test_what_counts_as_the_same(wanted: dict[str, Any], held: dict[str, Any], changed: bool) -> None:
    assert changes_of(parse([wanted]), {"id": held}) is changed


def test_a_slug_keeps_the_schedule_whatever_its_rule() -> None:
    held = {"1": server(slug="a", active=False), "2": server(slug="b")}
    changes = plan(parse([{"slug": "a", "interval": 60}]), held)
    assert changes.remove == ["2"] and not changes.create
    assert changes.update == {"1": {"schedule": {"interval": 60}, "active": False, "parameters": {}, "slug": "a"}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, r"schedules\[1\]: give one of cron, interval, rrule"),
        ({"cron": "* * * * *", "rrule": "FREQ=DAILY"}, r"schedules\[1\]: give one of"),
        ({"interval": 60, "day_or": True}, r"schedules\[1\].day_or: has no meaning beside interval"),
        ({"interval": 0}, r"schedules\[1\].interval: must be above 0"),
        ({"interval": 60, "anchor_date": "2026-01-01"}, r"anchor_date: '2026-01-01' is no time with an offset"),
        ({"cron": "* * * * *", "slug": "a"}, r"schedules\[1\].slug: a is given twice"),
    ],
)
def test_a_wrong_schedule(value: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse([{"cron": "* * * * *", "slug": "a"}, value])
