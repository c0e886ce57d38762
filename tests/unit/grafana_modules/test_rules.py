# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.mlops.onprem.plugins.module_utils._errors import InputError
from ansible_collections.mlops.onprem.plugins.module_utils._grafana.rules import (
    Rule,
    differences,
    from_provisioning,
    from_resource,
    parse,
    planned,
    to_provisioning,
    to_resource,
)
from hypothesis import given, settings
from hypothesis import strategies as st

WORDS = st.sampled_from(["a", "b", "c"])
DURATIONS = st.sampled_from(["0s", "90s", "5m", "1h", 120, "0"])
MODELS = st.fixed_dictionaries(
    {},
    optional={
        "expr": WORDS,
        "intervalMs": st.sampled_from([0, 1000, 5000.0, "x", True]),
        "maxDataPoints": st.sampled_from([0, 100]),
        "queryType": WORDS,
        "refId": WORDS,
        "instant": st.booleans(),
    },
)
RANGES = st.none() | st.builds(
    lambda ago, length: {"from": f"{ago + length}s", "to": ago}, st.integers(0, 99), st.integers(1, 99)
)


@st.composite
def queries(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(st.sampled_from(["A", "B", "C"]), min_size=1, max_size=3, unique=True))
    return [
        {
            "ref_id": name,
            "datasource_uid": draw(st.sampled_from(["__expr__", "prometheus"])),
            "relative_time_range": draw(RANGES),
            "query_type": draw(st.sampled_from(["", "range"])),
            "model": draw(MODELS),
        }
        for name in names
    ]


@st.composite
def given_rules(draw: st.DrawFn) -> list[dict[str, Any]]:
    titles = draw(st.lists(WORDS, min_size=1, max_size=3, unique=True))
    made = []
    for title in titles:
        data = draw(queries())
        made.append(
            {
                "title": title,
                "uid": draw(st.none() | st.just(f"uid-{title}")),
                "condition": data[0]["ref_id"],
                "data": data,
                "for": draw(DURATIONS),
                "keep_firing_for": draw(DURATIONS),
                "no_data_state": draw(st.sampled_from(["NoData", "OK", "KeepLast"])),
                "exec_err_state": draw(st.sampled_from(["Error", "OK"])),
                "labels": draw(st.dictionaries(WORDS, WORDS | st.integers(0, 3), max_size=2)),
                "annotations": draw(st.dictionaries(WORDS, WORDS, max_size=2)),
                "paused": draw(st.none() | st.booleans()),
                "missing_series_evals_to_resolve": draw(st.none() | st.integers(1, 3)),
                "notification_settings": draw(
                    st.none()
                    | st.fixed_dictionaries(
                        {"receiver": WORDS}, optional={"group_by": st.just(["x"]), "group_wait": DURATIONS}
                    )
                ),
            }
        )
    return made


def stored(body: dict[str, Any], number: int) -> dict[str, Any]:
    """As Grafana 10 keeps a rule, and newer ones what is newer: with what it adds."""
    kept = copy.deepcopy(body)
    kept["uid"] = kept["uid"] or f"new-{number}"
    for query in kept["data"]:
        model = query["model"]
        for key, value in (("maxDataPoints", 43200), ("intervalMs", 1000)):
            if isinstance(model.get(key), bool) or not isinstance(model.get(key), (int, float)) or not model[key]:
                model[key] = float(value)
        query["queryType"] = model.get("queryType", query["queryType"])
    for key in ("labels", "annotations"):
        if not kept[key]:
            del kept[key]
    return kept


@settings(max_examples=50, deadline=None)
@given(given_rules())
def test_a_second_run_changes_nothing(given: list[dict[str, Any]]) -> None:
    wanted = planned(parse(given), [], ordered=True)
    bodies = [to_provisioning(rule, "f", "g") for rule in wanted]
    held = [from_provisioning(stored(body, number)) for number, body in enumerate(bodies)]
    assert differences(wanted, held, ordered=True) == []
    again = planned(parse(given), held, ordered=True)
    assert again == held


@settings(max_examples=50, deadline=None)
@given(given_rules())
def test_the_successor_has_the_same_rules(given: list[dict[str, Any]]) -> None:
    for rule in planned(parse(given), [], ordered=True):
        read = from_resource(to_resource(rule, "1m"), "uid-1")
        # It has no time range for expressions, and Grafana uses none.
        for some in (rule, read):
            for query in some["data"]:
                if query["datasource_uid"] == "__expr__":
                    query["relative_time_range"] = None
        assert read == rule | {"uid": "uid-1"}


def rule(title: str, **more: Any) -> dict[str, Any]:
    """A rule as the options have it, after Ansible."""
    query = {
        "ref_id": "A",
        "datasource_uid": "ds",
        "relative_time_range": None,
        "query_type": "",
        "model": {"expr": "up"},
    }
    whole = {
        "title": title,
        "uid": None,
        "condition": "A",
        "data": [query],
        "for": "0s",
        "keep_firing_for": "0s",
        "no_data_state": "NoData",
        "exec_err_state": "Error",
        "labels": {},
        "annotations": {},
        "paused": None,
        "missing_series_evals_to_resolve": None,
        "notification_settings": None,
    }
    return whole | more


def held(*given: dict[str, Any]) -> list[Rule]:
    return [{**one, "uid": one["uid"] or f"uid-{one['title']}", "paused": bool(one["paused"])} for one in parse(given)]


def test_what_grafana_adds_to_a_query() -> None:
    [query] = parse([rule("a")])[0]["data"]
    assert query["model"] == {"expr": "up", "refId": "A", "intervalMs": 1000, "maxDataPoints": 43200}
    assert query["relative_time_range"] == {"from": 600, "to": 0}


def test_rules_are_found_by_uid_then_by_title() -> None:
    there = held(rule("a"), rule("b"), rule("c", uid="fixed"))
    plan = planned(parse([rule("renamed", uid="fixed"), rule("b"), rule("new")]), there, ordered=True)
    assert [(one["title"], one["uid"]) for one in plan] == [("renamed", "fixed"), ("b", "uid-b"), ("new", None)]


def test_a_pause_of_which_nothing_is_said_stays() -> None:
    there = held(rule("a", paused=True), rule("b", paused=True))
    plan = planned(parse([rule("a"), rule("b", paused=False), rule("new")]), there, ordered=True)
    assert [one["paused"] for one in plan] == [True, False, False]


def test_an_order_that_the_server_does_not_keep_is_not_asked_for() -> None:
    there = held(rule("a"), rule("b"))
    wanted = parse([rule("b"), rule("new"), rule("a")])
    assert [one["title"] for one in planned(wanted, there, ordered=True)] == ["b", "new", "a"]
    assert [one["title"] for one in planned(wanted, there, ordered=False)] == ["a", "b", "new"]
    assert planned(parse([rule("b"), rule("a")]), there, ordered=False) == there


def test_what_was_written_and_what_was_read() -> None:
    wanted = planned(parse([rule("a", keep_firing_for="5m")]), [], ordered=True)
    assert differences(wanted, held(rule("a")), ordered=True) == ["rules[0].keep_firing_for"]
    assert differences(wanted, [], ordered=True) == ["rules: 0 in place of 1"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([rule("a"), rule("a")], r"rules\[1\]\.title: a is given twice"),
        ([rule("a", uid="x"), rule("b", uid="x")], r"rules\[1\]\.uid: x is given twice"),
        ([rule(" ")], r"rules\[0\]\.title: must not be empty"),
        ([rule("a", condition="B")], r"rules\[0\]\.condition: B is no ref_id in data, which has A"),
        ([rule("a", data=rule("a")["data"] * 2)], r"each ref_id must be given once, but they are A, A"),
        ([rule("a", **{"for": "soon"})], r"rules\[0\]\.for: 'soon' is not a duration"),
        (
            [rule("a", data=[rule("a")["data"][0] | {"relative_time_range": {"from": "5m", "to": "10m"}}])],
            r"rules\[0\]\.data\[0\]\.relative_time_range: from must be longer ago than to",
        ),
        ([rule("a", labels={"x": None})], r"rules\[0\]\.labels\.x: must be a text"),
    ],
)
def test_what_grafana_would_refuse(rules: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(rules)
